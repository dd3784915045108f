"""What all figures share: colours, labels, axes, and how many points a browser is given."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final, TypeVar

from ...engine.foreign_text import clean
from ..findings import Findings, counts_as_result
from ..tallies import Row

Figure = dict[str, Any]
Item = TypeVar("Item")

# Readable on white and on black.
COLOURS: Final = {
    "best": "#2f81d6",
    "COMPLETE": "#2f81d6",
    "PRUNED": "#c98a1b",
    "FAIL": "#d4493f",
    "model": "#8e63ce",
    "waiting": "#7a8794",
    "baseline": "#7a8794",
    "cost": "#2a9d6f",
}
MOST_POINTS: Final = 1_000  # of a figure: all of 5,000 trials would keep a browser busy for seconds
NAME_IN_FIGURE: Final = 60
MOST_SEAMS: Final = 50  # lines where time is left out: of a study with more runs, those of the last


def label(text: object, length: int = NAME_IN_FIGURE) -> str:
    """A name as Plotly may show it: it reads tags, which are escaped, and no entity of a quote."""
    return escape(clean(str(text), length), quote=False)


def figure(traces: Iterable[Figure], x_title: str, **layout: Any) -> Figure:
    """Some traces over one axis."""
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {"title": {"text": x_title}},
            "margin": {"l": 60, "r": 12, "t": 12, "b": 48},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "showlegend": False,
            "hovermode": "closest",
            **layout,
        },
    }


def value_axis(findings: Findings, also: Sequence[float] = ()) -> dict[str, Any]:
    """An axis that one disaster among the values does not flatten: it shows the better nine tenths, and `also`."""
    values = sorted(float(row["value"]) for row in findings.ended if counts_as_result(row))
    cut = len(values) // 10
    shown = sorted([*(values[cut:] if findings.maximize else values[: len(values) - cut]), *also])
    margin = (shown[-1] - shown[0]) * 0.06 or abs(shown[0]) * 0.1 or 1.0
    return {"title": {"text": "value"}, "range": [shown[0] - margin, shown[-1] + margin]}


def ends_in_time(findings: Findings) -> tuple[list[float], str, float]:
    """When each trial ended, on an axis of times, and that axis's unit and its length in seconds."""
    ends = [findings.time.seconds(row["datetime_complete"]) for row in findings.ended]
    unit, seconds = unit_of(ends[-1])
    return [short(end / seconds) for end in ends], unit, seconds


def over_time(
    traces: Iterable[Figure], findings: Findings, unit: str, seconds: float, *, begin: float = -math.inf, **layout: Any
) -> Figure:
    """Some traces over the time in which runs went on; a dotted line where time between runs is left out.

    `unit` has so many `seconds`, and `begin` is where the traces begin, in seconds.
    """
    seams = [short(at / seconds) for at in findings.time.seams() if at > begin][-MOST_SEAMS:]
    line = {"dash": "dot", "width": 1, "color": COLOURS["waiting"]}
    shapes = [{"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line} for at in seams]
    title = f"{unit} since the start" + (", less the time between runs (dotted)" if seams else "")
    return figure(traces, title, **({"shapes": shapes} if shapes else {}), **layout)


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which so many seconds are best read, and its length in seconds."""
    return ("hours", 3600.0) if seconds >= 7200 else ("minutes", 60.0) if seconds >= 120 else ("seconds", 1.0)


def points(places: Sequence[float], rows: Sequence[Row]) -> Figure:
    """Results as dots."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": list(places),
        "y": [row["value"] for row in rows],
        "text": [f"trial {row['number']}" for row in rows],
        "hovertemplate": "%{text}: %{y}<extra></extra>",
        "marker": {"size": 5, "opacity": 0.45, "color": COLOURS["best"]},
    }


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float], *, colour: str, name: str) -> list[Figure]:
    """The area between two curves."""
    edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "x": list(x), "line": {"width": 0}}
    area = {"fill": "tonexty", "fillcolor": colour, "name": name}
    return [{**edge, "y": list(low), "showlegend": False}, {**edge, "y": list(high), **area}] if x else []


def thinned(items: Sequence[Item], most: int = MOST_POINTS) -> Sequence[Item]:
    """Evenly fewer of them, the last one kept, so that a figure of thousands still opens quickly."""
    step = math.ceil(len(items) / most)
    return items[::-1][::step][::-1] if step > 1 else items


def short(number: float) -> float:
    """A number of few digits: they are many, and a screen has few pixels."""
    return float(f"{number:.6g}")
