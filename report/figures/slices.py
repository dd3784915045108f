"""The value over one parameter."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

from ...engine.foreign_text import clean
from ...engine.logs import counted
from ..findings import Findings
from ..tallies import Row
from .drawing import COLOURS, Figure, figure, label, thinned, value_axis

MOST_SLICES: Final = 12  # parameters: each is a figure
MOST_CHOICE_ROWS: Final = 30  # that have a row of their own
CHOICE_LENGTH: Final = 16  # characters beside an axis; all of a choice is at its points
AXIS_TITLE_LENGTH: Final = 40  # characters below one of three figures side by side
FEW_CHOICES: Final = 6
SHORT_CHOICE: Final = 8
ROW_HEIGHT: Final = 17  # pixels
AXES_HEIGHT: Final = 80


def slice_figure(column: str, results: Sequence[Row], findings: Findings) -> Figure | None:
    """The value over a column of parameters; None where no trial with a result has it."""
    rows = thinned([row for row in results if row[column] is not None])
    if not rows:
        return None
    values = [row[column] for row in rows]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _over_numbers(values, rows, column, findings)
    return _over_choices([str(value) for value in values], rows, column, findings)


def _over_numbers(values: Sequence[float], rows: Sequence[Row], column: str, findings: Findings) -> Figure:
    places = {"x": values, "y": [row["value"] for row in rows]}
    trace = _dots(rows) | places | {"hovertemplate": "%{text}: %{x}, %{y}<extra></extra>"}
    drawn = figure([trace], _name(column), yaxis=value_axis(findings))
    log = min(values) > 0 and max(values) / min(values) >= 100
    drawn["layout"]["xaxis"]["type"] = "log" if log else "linear"
    if min(values) == max(values):
        around = abs(values[0]) / 2 or 1.0
        drawn["layout"]["xaxis"]["range"] = [values[0] - around, values[0] + around]
    return drawn


def _over_choices(choices: Sequence[str], rows: Sequence[Row], column: str, findings: Findings) -> Figure:
    """The choices beside each other; below each other where they are many or long, the rarest in one row."""
    counts = Counter(choices)
    rare = len(counts) - MOST_CHOICE_ROWS
    kept = sorted(choice for choice, _ in counts.most_common(MOST_CHOICE_ROWS))
    places = {choice: place for place, choice in enumerate(kept)}
    at = [
        places.get(choice, MOST_CHOICE_ROWS) + _aside(row["number"]) for choice, row in zip(choices, rows, strict=True)
    ]
    names = [*_brief(kept), *([counted(rare, "other")] if rare > 0 else [])]
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
    values = [row["value"] for row in rows]
    dots = _dots(rows) | {"customdata": [label(choice) for choice in choices]}
    if len(names) <= FEW_CHOICES and all(len(choice) <= SHORT_CHOICE for choice in kept):
        trace = dots | {"x": at, "y": values, "hovertemplate": "%{text}: %{customdata}, %{y}<extra></extra>"}
        drawn = figure([trace], _name(column), yaxis=value_axis(findings))
        drawn["layout"]["xaxis"] |= axis
        return drawn
    trace = dots | {"x": values, "y": at, "hovertemplate": "%{text}: %{customdata}, %{x}<extra></extra>"}
    named = {"range": [len(names) - 0.4, -0.6]}  # a title would stand on long names
    drawn = figure([trace], "value", yaxis=axis | named, height=max(260, AXES_HEIGHT + ROW_HEIGHT * len(names)))
    drawn["layout"]["xaxis"] |= value_axis(findings)
    drawn["layout"]["title"] = {
        "text": _name(column),
        "font": {"size": 12},
        "x": 0.5,
        "y": 1,
        "yanchor": "top",
        "pad": {"t": 6},
    }
    drawn["layout"]["margin"]["t"] = 28
    return drawn


def _dots(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "",
        "text": [f"trial {row['number']}" for row in rows],
        "marker": {
            "size": 6,
            "opacity": 0.7,
            "color": [row["number"] for row in rows],
            "colorscale": [[0, "#9db8d6"], [1, COLOURS["best"]]],
        },
    }


def _aside(number: int) -> float:
    """How far a dot stands beside its choice, not to hide others: spread evenly by the golden ratio."""
    return round((number * 0.618034 % 1.0 - 0.5) * 0.4, 3)


def _brief(choices: Sequence[str]) -> list[str]:
    """Choices as an axis has room for them: what all begin and end with is left out where they are long."""
    if max(map(len, choices)) <= CHOICE_LENGTH or len(choices) == 1:
        return [label(choice, CHOICE_LENGTH) for choice in choices]
    start = _shared(choices)
    end = _shared([choice[start:][::-1] for choice in choices])
    middles = [choice[start : len(choice) - end] for choice in choices]
    return [label("…" * (start > 0) + clean(middle, CHOICE_LENGTH) + "…" * (end > 0)) for middle in middles]


def _shared(choices: Sequence[str]) -> int:
    """How many first characters all of them have in common."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*choices, strict=False)))


def _name(column: str) -> str:
    return label(column.removeprefix("params_"), AXIS_TITLE_LENGTH)
