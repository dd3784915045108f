"""How the values of a target are spread: shares of classes, or moments and quantiles; no label, no single value."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.logs import counted
from .columns import NUMERIC, Array, floats, is_absent, kind_of
from .figures import percent, short
from .table import Block

# Whole numbers are classes where they are few, and come back often: 10 digits, but not the ages of 442 people.
MOST_CLASSES = 100
ROWS_A_CLASS = 5
FEW_CLASSES = 3  # in however few rows
COUNTED_SPAN = 10**6  # classes so far apart are sorted, which takes longer than to count them
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # the ends are left out: they are single rows


def spread(block: Block, name: str) -> list[str]:
    """Lines on a target of one column, which they call `name`."""
    column = block.array[:, 0]
    values = _known(column)
    absent = len(column) - len(values)
    lines = [f"{name}: missing in {percent(absent / len(column))} of the rows."] * bool(absent)
    if not len(values):
        return lines
    numbers = None if block.categorical else _numbers(values)
    if numbers is None:
        return [_classes(_counts(values), name), *lines]
    counts = _whole_counts(numbers)
    return [*([_classes(counts, name, " (whole numbers)")] if counts else _moments(numbers, name)), *lines]


def _known(column: Array) -> Array:
    """Values that are not missing."""
    if column.dtype.kind in "Mm":
        return column[~np.isnat(column)]
    if column.dtype.kind == "f":
        return column[~np.isnan(column)]
    if column.dtype.kind in "biu":
        return column
    values = [value for value in column.tolist() if not is_absent(value)]
    known = np.empty(len(values), dtype=object)
    known[:] = values
    return known


def _numbers(values: Array) -> Array | None:
    """The values as floats; None if they are no numbers."""
    if values.dtype.kind in "iuf":
        return values.astype(float)
    if values.dtype.kind == "O" and kind_of({*map(type, values)}) == NUMERIC:
        return floats(values.tolist())
    return None


def _whole_counts(numbers: Array) -> list[int]:
    """How often each class comes; empty if the numbers are no classes."""
    if not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any():
        return []
    low = float(numbers.min())
    span = float(numbers.max()) - low
    if span < COUNTED_SPAN:
        found = np.bincount((numbers - low).astype(int))
        counts = [int(count) for count in found[found > 0]]
    else:
        counts = _counts(numbers)
    return counts if len(counts) <= min(MOST_CLASSES, max(FEW_CLASSES, len(numbers) // ROWS_A_CLASS)) else []


def _counts(values: Array) -> list[int]:
    if values.dtype.kind != "O":
        return [int(count) for count in np.unique(values, return_counts=True)[1]]
    try:
        return [*Counter(values.tolist()).values()]
    except TypeError:  # lists and the like
        return [1] * len(values)


def _classes(counts: Sequence[int], name: str, of: str = "") -> str:
    rows, most, least = sum(counts), max(counts), min(counts)
    if len(counts) == 1:
        return f"{name}: one value alone, so there is nothing to tell apart."
    if len(counts) > max(MOST_CLASSES, rows // 2):
        return f"{name}: {len(counts)} distinct values that are no numbers."
    shares = f"the most frequent has {percent(most / rows)} of the rows, the least {percent(least / rows)}"
    return f"{name}: classification, {len(counts)} classes{of}; {shares} ({counted(least, 'row')})."


def _moments(numbers: Array, name: str) -> list[str]:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return [f"{name}: no finite number."]
    mean, deviation = finite.mean(), finite.std()
    centred = (finite - mean) / deviation
    skew = (centred * centred * centred).mean() if deviation > 0 else 0.0
    quantiles: Any = np.quantile(finite, QUANTILES)
    shown = ", ".join(short(float(value)) for value in quantiles)
    lines = [
        f"{name}: regression; mean {short(float(mean))}, standard deviation {short(float(deviation))}, "
        f"skew {short(float(skew), 2)}; quantiles at 5, 25, 50, 75 and 95 %: {shown}."
    ]
    return [*lines, *[f"{name}: {len(numbers) - len(finite)} infinite values."] * (len(finite) < len(numbers))]
