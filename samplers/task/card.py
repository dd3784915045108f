"""A data card: what one has to know of data to choose hyperparameters, in a few lines of counts and ranges."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.errors import UsageError
from ...engine.logs import counted
from ..space.notation import quote, redact
from .columns import CATEGORICAL, NUMERIC, TEXT, Array, Columns, columns_of, merged
from .figures import percent, short
from .table import FEWEST_TOGETHER, Table, array_of, is_data, is_frame, is_sparse, read
from .target import spread

SHOWN_NAMES = 20  # more tell a reader what the data is about no better, and a prompt pays for each
NAME_SHOWN = 40  # characters
MANY_ZEROS = 0.2  # a share from which on numbers are counts or indicators rather than measurements
FAR_APART = 10.0  # ratio of standard deviations beyond which distances are those of the widest columns alone


def data_card(data: Any, target: Any = None) -> str:
    """Describe data, and the target that goes with it if there is one. Raises `UsageError` for what is no data."""
    with np.errstate(all="ignore"):  # the largest floats overflow when they are summed or squared
        rows, lines = _facts(data)
        if target is not None:
            lines += _target(target, rows)
    return "\n".join(lines)


def _facts(data: Any) -> tuple[int, list[str]]:
    """The number of rows, and lines."""
    if is_sparse(data):
        return _sparse(data)
    if not is_frame(data) and not hasattr(data, "to_numpy"):
        data = array_of("the data", data)
        if data.ndim > FEWEST_TOGETHER:
            return _tensor(data)
        if data.ndim == 0:
            raise UsageError("the data must have rows; this is a single value")
    table = read("the data", data)
    return table.rows, _table(table, alone=len(data.shape) == 1)


def _table(table: Table, *, alone: bool) -> list[str]:
    columns = merged(columns_of(block.array, categorical=block.categorical) for block in table.blocks)
    dtype = f", {table.dtype}" if table.dtype else ""
    lines = [f"Data: {_size(table.rows, table.width)}{dtype}."]
    lines += _names(table.names)
    lines += [f"Columns: {', '.join(map(_kind, columns))}."]
    lines += [_missing(columns, table), *_constant(columns)]
    return lines + (spread(table.blocks[0], "Values") if alone else [*_scale(columns), *_zeros(columns, table)])


def _size(rows: int, width: int) -> str:
    ratio = rows / width
    a_column = f" ({short(ratio)} rows a column)" if width > 1 else ""
    return f"{counted(rows, 'row')}, {counted(width, 'column')}{a_column}"


def _names(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(quote(redact(name), NAME_SHOWN) for name in names[:SHOWN_NAMES])
    return [f"Names: {shown}{f' and {len(names) - SHOWN_NAMES} more' if len(names) > SHOWN_NAMES else ''}."]


def _kind(columns: Columns) -> str:
    more = ""
    if columns.kind == CATEGORICAL and columns.levels:
        more = f" ({'up to ' if columns.count > 1 else ''}{counted(columns.levels, 'level')})"
    if columns.kind == TEXT and columns.length:
        more = f" ({'up to ' if columns.count > 1 else ''}{short(columns.length, 2)} characters on average)"
    return f"{columns.count} {columns.kind}{more}"


def _missing(columns: Sequence[Columns], table: Table) -> str:
    missing = sum(one.missing for one in columns)
    infinite = sum(one.infinite for one in columns)
    also = f" {counted(infinite, 'cell')} infinite." if infinite else ""
    if not missing:
        return f"Missing values: none.{also}"
    incomplete = sum(one.incomplete for one in columns)
    share = percent(missing / (table.rows * table.width))
    where = f", in {incomplete} of {counted(table.width, 'column')}" if table.width > 1 else ""
    return f"Missing values: {share} of the cells{where}.{also}"


def _constant(columns: Sequence[Columns]) -> list[str]:
    constant = sum(one.constant for one in columns)
    return [f"Without any variance: {counted(constant, 'column')}."] * bool(constant)


def _scale(columns: Sequence[Columns]) -> list[str]:
    numeric = next((one for one in columns if one.kind == NUMERIC and one.widest > 0), None)
    if numeric is None:
        return []
    if numeric.count - numeric.constant == 1:
        return [f"Scale: the numeric column has a standard deviation of {short(numeric.widest)}."]
    ratio = numeric.widest / numeric.narrowest if numeric.narrowest > 0 else math.inf
    verdict = f"{short(ratio, 2)} times apart, so scaling matters" if ratio > FAR_APART else "of one order of magnitude"
    narrowest, widest = short(numeric.narrowest), short(numeric.widest)
    if narrowest == widest:
        return [f"Scale: every numeric column has a standard deviation of about {widest}."]
    return [f"Scale: standard deviations of the numeric columns from {narrowest} to {widest}: {verdict}."]


def _zeros(columns: Sequence[Columns], table: Table) -> list[str]:
    numeric = next((one for one in columns if one.kind == NUMERIC), None)
    share = numeric.zeros / (numeric.count * table.rows) if numeric else 0.0
    return [f"Zeros: {percent(share)} of the numeric cells."] * (share >= MANY_ZEROS)


def _target(target: Any, rows: int) -> list[str]:
    if not (is_data(target) or is_sparse(target)):
        kind = type(target).__name__
        raise UsageError(f"y must hold one value for each row (an array, a series or a list), and is a {kind}")
    found, lines = (_facts if is_sparse(target) else _targets)(target)
    if found != rows:
        raise UsageError(f"the data has {counted(rows, 'row')} and y has {found}: they must be as long as each other")
    return lines


def _targets(target: Any) -> tuple[int, list[str]]:
    table = read("y", target)
    if table.width == 1:
        return table.rows, spread(table.blocks[0], "Target")
    columns = merged(columns_of(block.array, categorical=block.categorical) for block in table.blocks)
    return table.rows, [f"Target: {table.width} columns: {', '.join(map(_kind, columns))}."]


def _sparse(data: Any) -> tuple[int, list[str]]:
    shape = tuple(map(int, data.shape))
    if 0 in shape:
        raise UsageError(f"the data is empty: its shape is {shape}")
    rows, width = shape[0], math.prod(shape[1:])
    density = int(data.nnz) / (rows * width)
    lines = [
        f"Data: {_size(rows, width)}, a sparse matrix of {data.dtype}.",
        f"Not zero: {percent(density)} of the cells.",
    ]
    return rows, lines


def _tensor(data: Array) -> tuple[int, list[str]]:
    if not data.size:
        raise UsageError(f"the data is empty: its shape is {data.shape}")
    row = " x ".join(map(str, data.shape[1:]))
    lines = [f"Data: {counted(len(data), 'row')}, each an array of {row} ({data.dtype})."]
    known = data[np.isfinite(data)] if data.dtype.kind in "iuf" else data[:0]
    if known.size:
        low, high, mean, deviation = (
            short(float(one)) for one in (known.min(), known.max(), known.mean(dtype=float), known.std(dtype=float))
        )
        lines += [f"Values: from {low} to {high}, mean {mean}, standard deviation {deviation}."]
        lines += [f"Missing or infinite: {percent(1 - known.size / data.size)}."] * (known.size < data.size)
    return len(data), lines
