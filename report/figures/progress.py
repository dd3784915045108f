"""How good a study became: its best value, how its results are spread, and what a random search would have."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import quantiles
from typing import Any, Final

from ..baseline import BaselinePoint
from ..findings import Findings
from ..tallies import Row
from .drawing import COLOURS, Figure, band, ends_in_time, figure, over_time, points, thinned, value_axis

SPREAD_WINDOW: Final = 20  # results: of fewer, quartiles jump with each. Of many results it takes a share of them
SPREAD_SHARE: Final = 0.02
BAND_CORNERS: Final = 200


def best_figure(findings: Findings, results: Sequence[Row], baseline: Sequence[BaselinePoint]) -> Figure | None:
    """The best value over finished trials; None without a result."""
    if not results:
        return None
    places = [float(place) for place in range(1, len(findings.ended) + 1)]
    traces = _traces(findings, results, places, baseline)
    return figure(traces, "finished trials", yaxis=_axis(findings, baseline), showlegend=True)


def hours_figure(findings: Findings, results: Sequence[Row], baseline: Sequence[BaselinePoint]) -> Figure | None:
    """The same over time; a random search is given as many trials as had ended by then."""
    if not results:
        return None
    places, unit, seconds = ends_in_time(findings)
    traces = _traces(findings, results, places, baseline)
    return over_time(traces, findings, unit, seconds, yaxis=_axis(findings, baseline), showlegend=True)


def _axis(findings: Findings, baseline: Sequence[BaselinePoint]) -> dict[str, Any]:
    medians = [point.median for point in baseline if point.median is not None and point.trials <= len(findings.ended)]
    return value_axis(findings, medians[-1:])


def _traces(
    findings: Findings, results: Sequence[Row], places: Sequence[float], baseline: Sequence[BaselinePoint]
) -> Iterator[Figure]:
    """The traces, where the finished trials stand at these places."""
    at = {row["number"]: place for row, place in zip(findings.ended, places, strict=True)}
    yield from _random(baseline, places)
    yield from _spread(results, at)
    few = thinned(results)
    yield points([at[row["number"]] for row in few], few)
    steps = [(at[step.number], step.value) for step in findings.improvements]
    closed = [*steps, (places[-1], steps[-1][1])]
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": "best",
        "x": [x for x, _ in closed],
        "y": [y for _, y in closed],
        "line": {"shape": "hv", "width": 2.5, "color": COLOURS["best"]},
    }


def _spread(results: Sequence[Row], at: Mapping[int, float]) -> list[Figure]:
    """The quartiles of the latest results."""
    size = max(SPREAD_WINDOW, int(len(results) * SPREAD_SHARE))
    ends = thinned(range(size, len(results) + 1), BAND_CORNERS)
    cuts = [quantiles([row["value"] for row in results[end - size : end]], method="inclusive") for end in ends]
    x = [at[results[end - 1]["number"]] for end in ends]
    lows, highs, name = [cut[0] for cut in cuts], [cut[2] for cut in cuts], f"middle half of the last {size} results"
    return band(x, lows, highs, colour="rgba(47,129,214,0.25)", name=name)


def _random(baseline: Sequence[BaselinePoint], places: Sequence[float]) -> Iterator[Figure]:
    """A random search: the middle eight of ten cases, and its median."""
    reached = [point for point in baseline if point.median is not None and point.trials <= len(places)]
    edges = [(places[p.trials - 1], p.low, p.high) for p in reached if p.low is not None and p.high is not None]
    lows, highs = [low for _, low, _ in edges], [high for _, _, high in edges]
    colour = "rgba(122,135,148,0.25)"
    yield from band([x for x, _, _ in edges], lows, highs, colour=colour, name="random search, 8 of 10")
    if reached:
        yield {
            "type": "scatter",
            "mode": "lines",
            "hoverinfo": "skip",
            "x": [places[point.trials - 1] for point in reached],
            "y": [point.median for point in reached],
            "line": {"dash": "dot", "color": COLOURS["baseline"]},
            "name": "random search, median",
        }
