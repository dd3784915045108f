"""What users have their data in, read as one table: arrays, data frames, series and lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.errors import UsageError
from ...engine.foreign_text import summary
from .columns import Array

FEWEST_TOGETHER = 2  # dimensions: a row of a table; what has more is one thing a row, as an image is


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Columns that are read together: a matrix of numbers, truth values or dates, or a single column of anything."""

    array: Array
    categorical: bool = False  # declared as such, whatever its values look like


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows and columns, and the columns' names where they are strings."""

    rows: int
    width: int
    blocks: tuple[Block, ...]
    names: tuple[str, ...] = ()
    dtype: str = ""  # of all columns, where there is one


def is_sparse(thing: Any) -> bool:
    """Whether it is a sparse matrix, as scipy's are."""
    return hasattr(thing, "nnz") and hasattr(thing, "shape") and not hasattr(thing, "columns")


def is_data(thing: Any) -> bool:
    """Whether it is something that `array_of` or `read_frame` can read."""
    if isinstance(thing, type | str | bytes):
        return False
    return isinstance(thing, list | tuple) or hasattr(thing, "shape") or hasattr(thing, "__array__")


def is_frame(thing: Any) -> bool:
    """Whether it is a data frame, as those of pandas and polars are."""
    return hasattr(thing, "columns") and hasattr(thing, "shape") and hasattr(thing, "to_numpy")


def array_of(name: str, thing: Any) -> Array:
    """Read an array, a series or lists. Raises `UsageError` for what has rows of different lengths."""
    if isinstance(thing, np.ma.MaskedArray):
        numbers = thing.dtype.kind in "iuf"
        return np.asarray(np.ma.filled(thing.astype(float if numbers else object), np.nan if numbers else None))
    try:
        array = np.asarray(thing.to_numpy() if hasattr(thing, "to_numpy") else thing)
        if isinstance(thing, list | tuple) and array.dtype.kind not in "biufcMm":  # 1 and "a" became "1" and "a"
            array = np.array(thing, dtype=object)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be read as an array: {summary(error)}") from None
    return array


def read_frame(frame: Any) -> Table:
    """Read a data frame of pandas or polars, or one that has their methods; neither is imported."""
    rows, width = frame.shape
    names = tuple(name for name in frame.columns if isinstance(name, str))
    dtypes = [str(dtype) for dtype in frame.dtypes]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else ""
    if rows and width and all(_is_number(one) for one in dtypes):
        matrix = np.asarray(frame.to_numpy())
        if matrix.dtype.kind in "iuf":
            return Table(rows=rows, width=width, blocks=(Block(array=matrix),), names=names, dtype=dtype)
    blocks = (read_series(column, dtype) for column, dtype in zip(_series(frame), dtypes, strict=True))
    return Table(rows=rows, width=width, blocks=tuple(blocks), names=names, dtype=dtype)


def read_series(series: Any, dtype: str) -> Block:
    """Read one column."""
    return Block(
        array=np.asarray(series.to_numpy()).reshape(-1, 1), categorical=dtype.lower().startswith(("cat", "enum"))
    )


def read_array(array: Array) -> Table:
    """Read an array of one dimension, which is a column, or of two."""
    matrix = array.reshape(len(array), 1) if array.ndim < FEWEST_TOGETHER else array
    if matrix.dtype.names:  # a structured array: a column for each field
        blocks = tuple(Block(array=matrix[name].reshape(-1, 1)) for name in matrix.dtype.names)
        return Table(rows=len(matrix), width=len(blocks), blocks=blocks, names=matrix.dtype.names)
    alike = matrix.dtype.kind in "biufMm"
    arrays = [matrix] if alike else [matrix[:, [index]] for index in range(matrix.shape[1])]
    return Table(
        rows=matrix.shape[0],
        width=matrix.shape[1],
        blocks=tuple(Block(array=one) for one in arrays),
        dtype=str(matrix.dtype) if alike else "",
    )


def read(name: str, thing: Any) -> Table:
    """Read data of rows and columns. Raises `UsageError` if there are none."""
    if is_frame(thing):
        table = read_frame(thing)
    elif hasattr(thing, "to_numpy") and hasattr(thing, "dtype"):
        block = read_series(thing, str(thing.dtype))
        table = Table(rows=len(block.array), width=1, blocks=(block,), names=_name(thing), dtype=str(thing.dtype))
    else:
        table = read_array(array_of(name, thing))
    if not (table.rows and table.width):
        raise UsageError(f"{name} is empty: it has {table.rows} rows and {table.width} columns")
    return table


def _series(frame: Any) -> Sequence[Any]:
    if hasattr(frame, "iloc"):  # by place: two columns of pandas may have one name
        return [frame.iloc[:, index] for index in range(frame.shape[1])]
    return [frame[name] for name in frame.columns]


def _is_number(dtype: str) -> bool:
    return dtype.lower().startswith(("int", "uint", "float"))


def _name(series: Any) -> tuple[str, ...]:
    name = getattr(series, "name", None)
    return (name,) if isinstance(name, str) and name else ()
