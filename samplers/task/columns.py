"""What is known of columns, by kind: how many, how complete, how wide. Counts and ranges; no value of any cell."""

import datetime
import decimal
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

NUMERIC, BOOLEAN, CATEGORICAL, TEXT, DATE, OTHER = "numeric", "boolean", "categorical", "text", "date", "other"
KINDS = (NUMERIC, BOOLEAN, CATEGORICAL, TEXT, DATE, OTHER)  # in the order in which a card lists them

# Distinct strings of a column up to which they count as categories, in any number of rows and as a share of the rows.
FEW_LEVELS = 20
LEVELS_SHARE = 0.05
NARROW = 16  # columns up to which numpy is quicker when each lies in one piece

LARGEST = 10**308  # about the largest float

_NO_VALUES = {"NoneType", "NAType", "NaTType"}  # of pandas; by name, because pandas may be absent
_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
_NUMBERS = (Real, decimal.Decimal)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of one kind. `narrowest` and `widest`: standard deviations, of those that vary."""

    kind: str
    count: int = 1
    missing: int = 0  # cells
    incomplete: int = 0  # columns with missing cells
    constant: int = 0  # columns of one value, or none
    narrowest: float = math.inf
    widest: float = 0.0
    zeros: int = 0
    infinite: int = 0  # cells
    levels: int = 0  # distinct values, of the column that has most
    length: float = 0.0  # mean number of characters, of the column with the longest texts


def columns_of(array: Array, *, categorical: bool = False) -> Columns:
    """Read a matrix whose columns are alike: numbers, truth values or dates; or a single column of anything."""
    if categorical or array.dtype.kind not in "biufMm":
        return _of_objects(array[:, 0], categorical=categorical)
    if array.dtype.kind in "iuf":
        return _of_numbers(array)
    absent = np.isnat(array) if array.dtype.kind in "Mm" else np.zeros(array.shape, dtype=bool)
    same = ((array == array[:1]) | absent).all(axis=0)
    return Columns(
        kind=BOOLEAN if array.dtype.kind == "b" else DATE,
        count=array.shape[1],
        missing=int(absent.sum()),
        incomplete=int(absent.any(axis=0).sum()),
        constant=int(same.sum()),
    )


def merged(columns: Iterable[Columns]) -> tuple[Columns, ...]:
    """Put columns of one kind together, in the order of `KINDS`."""
    ordered = sorted(columns, key=lambda one: KINDS.index(one.kind))
    return tuple(_merge([*group]) for _, group in groupby(ordered, key=lambda one: one.kind))


def _merge(group: list[Columns]) -> Columns:
    return Columns(
        kind=group[0].kind,
        count=sum(one.count for one in group),
        missing=sum(one.missing for one in group),
        incomplete=sum(one.incomplete for one in group),
        constant=sum(one.constant for one in group),
        narrowest=min(one.narrowest for one in group),
        widest=max(one.widest for one in group),
        zeros=sum(one.zeros for one in group),
        infinite=sum(one.infinite for one in group),
        levels=max(one.levels for one in group),
        length=max(one.length for one in group),
    )


def _of_numbers(array: Array) -> Columns:
    array = np.asfortranarray(array) if array.shape[1] <= NARROW else array
    known = np.isfinite(array)
    if known.all():
        low, high = array.min(axis=0), array.max(axis=0)
        deviations = array.std(axis=0, dtype=float)
    else:
        low = np.where(known, array, np.inf).min(axis=0)
        high = np.where(known, array, -np.inf).max(axis=0)
        deviations = _deviations(array, known)
    varying = deviations[(low < high) & np.isfinite(deviations)]
    absent = np.isnan(array) if not known.all() else ~known
    return Columns(
        kind=NUMERIC,
        count=array.shape[1],
        missing=int(absent.sum()),
        incomplete=int(absent.any(axis=0).sum()),
        constant=int((low >= high).sum()),
        narrowest=float(varying.min()) if varying.size else math.inf,
        widest=float(varying.max()) if varying.size else 0.0,
        zeros=array.size - int(np.count_nonzero(array)),
        infinite=array.size - int(known.sum()) - int(absent.sum()),
    )


def _deviations(array: Array, known: Array) -> Array:
    """Compute the standard deviation of each column over what is known; numpy's own warns of columns without any."""
    counts = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, array, 0.0).astype(float)
    centred = np.where(known, values - values.sum(axis=0) / counts, 0.0)
    deviations: Array = np.sqrt((centred * centred).sum(axis=0) / counts)
    return deviations


# -- columns of Python objects, and of strings


def is_absent(value: Any) -> bool:
    """Whether it stands for a missing cell: None, NaN, and what pandas has for them."""
    return type(value).__name__ in _NO_VALUES or (isinstance(value, float) and value != value)


def _of_objects(column: Array, *, categorical: bool) -> Columns:
    known = [value for value in column.tolist() if not is_absent(value)]
    types = {*map(type, known)}
    kind = CATEGORICAL if categorical else kind_of(types)
    if kind == NUMERIC:
        return _with_missing(_of_numbers(floats(known)[:, None]), column.size - len(known))
    levels = _levels(known)
    if kind == TEXT and 0 < levels <= max(FEW_LEVELS, LEVELS_SHARE * len(known)):
        kind = CATEGORICAL
    return Columns(
        kind=kind,
        missing=column.size - len(known),
        incomplete=int(len(known) < column.size),
        constant=int(levels == 1 or not known),
        levels=levels if kind == CATEGORICAL else 0,
        length=sum(map(len, known)) / len(known) if kind == TEXT and known else 0.0,
    )


def floats(numbers: Sequence[Any]) -> Array:
    """Numbers of any type as floats; what is too large for one is infinite."""
    try:
        return np.array(numbers, dtype=float)
    except OverflowError:
        return np.array([float(one) if abs(one) < LARGEST else math.inf for one in numbers])


def kind_of(types: set[type]) -> str:
    """Name the kind of column that holds values of these types."""
    for kind, accepted in ((BOOLEAN, (bool, np.bool_)), (NUMERIC, _NUMBERS), (TEXT, (str, bytes)), (DATE, _DATES)):
        if types and all(issubclass(one, accepted) for one in types):
            return kind
    return OTHER


def _with_missing(columns: Columns, missing: int) -> Columns:
    missing += columns.missing
    return replace(columns, missing=missing, incomplete=int(missing > 0))


def _levels(known: list[Any]) -> int:
    try:
        return len(set(known))
    except TypeError:  # lists and the like
        return len(known)
