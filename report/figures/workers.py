"""The timeline of workers, and how many of them did what, as figures."""

from collections.abc import Sequence
from typing import Any, Final

from ..findings import Findings
from ..timeline import MODEL, WAITING, Stretch, Timeline
from .drawing import COLOURS, Figure, over_time, short, unit_of

WORDS: Final = {
    "COMPLETE": "evaluating",
    "PRUNED": "evaluating, pruned",
    "FAIL": "evaluating, failed",
    MODEL: "waiting for the model",
    WAITING: "waiting for anything else",
}
DRAWN_TRIALS: Final = 1_000  # of more, a screen shows no single one, and a browser is busy for seconds
TIME_BINS: Final = 200  # of the time of a study
NAMED_LANES: Final = 40


def timeline_figure(findings: Findings) -> Figure | None:
    """What each worker did when, over the last `DRAWN_TRIALS` trials; None where no trial ran."""
    last = {row["number"] for row in findings.ended[-DRAWN_TRIALS:]}
    timeline = findings.timeline
    parts = [part for part in timeline.stretches if part.trial in last]
    if not parts:
        return None
    unit, seconds = unit_of(max(part.ended for part in parts))
    width = max(1.5, min(14.0, 300 / timeline.lanes))
    traces = [
        _trace(group, timeline, width=width, unit=unit, seconds=seconds)
        for kind in WORDS
        if (group := [part for part in parts if part.kind == kind])
    ]
    axis: dict[str, Any] = {"title": {"text": "worker"}, "range": [timeline.lanes - 0.4, -0.6], "tickformat": "d"}
    if timeline.lanes <= NAMED_LANES:
        axis["dtick"] = 1 if timeline.lanes <= NAMED_LANES // 3 else 4
    begin = min(part.began for part in parts)
    return over_time(traces, findings, unit, seconds, begin=begin, yaxis=axis, showlegend=True)


def workload_figure(findings: Findings) -> Figure | None:
    """How many workers did what over all of a study's time; None where the timeline shows all of it."""
    if len(findings.ended) <= DRAWN_TRIALS or not findings.timeline.stretches:
        return None
    parts = findings.timeline.stretches
    began, ended = min(part.began for part in parts), max(part.ended for part in parts)
    length = (ended - began) / TIME_BINS or 1.0
    unit, seconds = unit_of(ended)
    middles = [short((began + (place + 0.5) * length) / seconds) for place in range(TIME_BINS)]
    groups = {"COMPLETE": [part for part in parts if part.kind not in (MODEL, WAITING)]}
    groups |= {kind: [part for part in parts if part.kind == kind] for kind in (MODEL, WAITING)}
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "workers",
            "name": WORDS[kind],
            "x": middles,
            "y": [short(amount / length) for amount in _binned(group, began, length)],
            "hovertemplate": "%{y:.1f} workers<extra>%{fullData.name}</extra>",
            "line": {"width": 0.5, "color": COLOURS[kind]},
        }
        for kind, group in groups.items()
        if group
    ]
    axis = {"title": {"text": "workers"}, "rangemode": "tozero"}
    return over_time(traces, findings, unit, seconds, yaxis=axis, showlegend=True)


def _trace(parts: Sequence[Stretch], timeline: Timeline, *, width: float, unit: str, seconds: float) -> Figure:
    """All stretches of one kind, as one broken line."""
    kind = parts[0].kind
    return {
        "type": "scatter",
        "mode": "lines",
        "name": WORDS[kind],
        "x": [at for part in parts for at in (short(part.began / seconds), short(part.ended / seconds), None)],
        "y": [at for part in parts for at in (part.lane, part.lane, None)],
        "text": [text for part in parts for text in (_words(part, timeline), _words(part, timeline), "")],
        "hovertemplate": "%{text}, %{x} " + unit + "<extra>%{fullData.name}</extra>",
        "line": {"width": 1.5 if kind == WAITING else width, "color": COLOURS[kind]},
    }


def _words(part: Stretch, timeline: Timeline) -> str:
    worker = f", worker {part.worker}" if part.worker is not None else ""
    return f"trial {part.trial}{worker}" + (f", run {part.run}" if part.run and len(timeline.runs) > 1 else "")


def _binned(parts: Sequence[Stretch], began: float, length: float) -> list[float]:
    """Seconds of these stretches in each bin of this length."""
    sums = [0.0] * TIME_BINS
    for part in parts:
        first, last = ((at - began) / length for at in (part.began, part.ended))
        for place in range(int(first), min(int(last) + 1, TIME_BINS)):
            sums[place] += max(0.0, min(last, place + 1) - max(first, place)) * length
    return sums
