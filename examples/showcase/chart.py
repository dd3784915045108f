"""Curves as text, for a terminal of 80 columns."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

WIDTH: Final = 64  # columns of the plot
HEIGHT: Final = 12
LABEL: Final = 8  # columns of the values at its left
FIRST_SHOWN: Final = 2  # trials whose values may lie above the plot: the first ones would flatten the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One value a trial, less is better; drawn with `mark`, and named with `name` below the chart."""

    mark: str
    name: str
    values: Sequence[float]


def best_so_far(values: Sequence[float]) -> list[float]:
    """The least value of each beginning."""
    return list(accumulate(values, min))


def median_of(studies: Sequence[Sequence[float]]) -> list[float]:
    """The median of several curves, trial by trial."""
    return [statistics.median(values) for values in zip(*studies, strict=True)]


def share_beaten(value: float, others: Sequence[float]) -> str:
    """How many of the others `value` is better than, in words."""
    return f"{sum(value < other for other in others)} of {len(others)}"


def chart(curves: Sequence[Curve], unit: str, height: int = HEIGHT, width: int = WIDTH) -> str:
    """Lines of text; the curves that come first are drawn over the others."""
    n = max(len(curve.values) for curve in curves)
    shown = [value for curve in curves for value in curve.values[FIRST_SHOWN:]]
    low, high = min(shown), max(shown)
    grid = [[" "] * width for _ in range(height)]
    for curve in reversed(curves):
        for column in range(width):
            trial = min(len(curve.values) - 1, column * n // width)
            place = (high - curve.values[trial]) / ((high - low) or 1.0)
            grid[round(min(1.0, max(0.0, place)) * (height - 1))][column] = curve.mark
    labels = _labels(high, low, height)
    rows = [f"{labels.get(row, ''):>{LABEL}} |{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    is_cut = any(value > high for curve in curves for value in curve.values)
    title = f"{unit} (what is higher is drawn at the top)" if is_cut else unit
    return "\n".join([f"{'':{LABEL}} {title}", *rows, *_axis(n, width), *_legend(curves)])


def _labels(high: float, low: float, height: int) -> Mapping[int, str]:
    middle = (height - 1) / 2
    rows = {0: high, round(middle): high - (high - low) * round(middle) / (height - 1), height - 1: low}
    return {row: f"{value:.3g}" for row, value in rows.items()}


def _axis(n: int, width: int) -> list[str]:
    numbers = f"{'1':<{width // 2 - 4}}{'trials':<{width - width // 2 + 4 - len(str(n))}}{n}"
    return [f"{'':{LABEL}} +{'-' * width}", f"{'':{LABEL}}  {numbers}"]


def _legend(curves: Sequence[Curve]) -> list[str]:
    return [f"{'':{LABEL}}  {curve.mark}  {curve.name}" for curve in curves]
