"""What proposals took: dollars or tokens, re-asks, repairs, duplicates, menus."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from ..findings import Findings
from .drawing import COLOURS, Figure, ends_in_time, figure, over_time, short, thinned

CORNERS: Final = 500  # of a curve of sums: more are not seen
COUNTED: Final = {"re-asks": "#d4493f", "repairs": "#c98a1b", "duplicates": "#8e63ce", "menus": "#2a9d6f"}


def spending_figure(findings: Findings) -> Figure | None:
    """Dollars over time, tokens where no dollars are known; None where nothing was spent."""
    dollars = any(row["cost"] for row in findings.ended)
    name, column = ("US dollars", "cost") if dollars else ("tokens", "tokens")
    amounts = [row[column] or 0.0 for row in findings.ended]
    if not any(amounts):
        return None
    places, unit, seconds = ends_in_time(findings)
    axis = {"title": {"text": name}, "rangemode": "tozero"}
    return over_time([_sums(places, amounts, name, COLOURS["cost"])], findings, unit, seconds, yaxis=axis)


def proposals_figure(findings: Findings) -> Figure | None:
    """How often something was wrong, or a menu was offered, up to each finished trial; None where it never was."""
    ended = [row for row in findings.ended if row["calls"]]
    counts = {
        "re-asks": [row["reasks"] or 0 for row in ended],
        "repairs": [row["repairs"] or 0 for row in ended],
        "duplicates": [int(row["duplicate_of"] is not None) for row in ended],
        "menus": [int(row["form"] == "menu") for row in ended],
    }
    places = [float(place) for place in range(1, len(ended) + 1)]
    traces = [_sums(places, counts[name], name, colour) for name, colour in COUNTED.items() if any(counts[name])]
    axis = {"title": {"text": "so far"}, "rangemode": "tozero"}
    return figure(traces, "finished trials from the model", yaxis=axis, showlegend=True) if traces else None


def _sums(places: Sequence[float], amounts: Iterable[float], name: str, colour: str) -> Figure:
    """A curve of what there is up to each place."""
    corners = thinned(list(zip(places, accumulate(amounts), strict=True)), CORNERS)
    return {
        "type": "scatter",
        "mode": "lines" if len(corners) > 1 else "lines+markers",
        "name": name,
        "x": [x for x, _ in corners],
        "y": [short(total) for _, total in corners],
        "line": {"shape": "hv", "width": 2.5, "color": colour},
    }
