"""What has not been tried of each parameter."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import Array
from .axes import Axis
from .evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The parts of one axis that no finished trial is in, as indices of its bins."""

    name: str
    bins: tuple[int, ...]


def counts(axis: Axis, places: Array) -> list[int]:
    """How many of the places are in each bin of an axis."""
    known = places[np.isfinite(places)]
    return [int(count) for count in np.bincount(_bins(axis, known).astype(int), minlength=axis.bins)]


def in_bin(axis: Axis, places: Array, index: int) -> npt.NDArray[np.bool_]:
    """Which of the places are in a bin."""
    return np.asarray(np.floor(_bins(axis, places)) == index)


def _bins(axis: Axis, places: Array) -> Array:
    return places if axis.categorical else np.minimum(axis.bins - 1, places * axis.bins)


def gaps(evidence: Evidence) -> tuple[Gap, ...]:
    """What is untried of each axis, in the order of the axes; nothing for an axis that is all tried, or not at all."""
    places = evidence.newest.places
    found = []
    for column, axis in enumerate(evidence.axes.all):
        tried = counts(axis, places[:, column])
        if any(tried) and not all(tried):
            found.append(Gap(name=axis.name, bins=tuple(i for i, count in enumerate(tried) if not count)))
    return tuple(found)
