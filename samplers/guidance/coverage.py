"""What has not been tried of each parameter."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..space.arrays import Array
from ..space.axes import Axes, Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The parts of one axis in which nothing was tried, as indices of its bins."""

    name: str
    bins: tuple[int, ...]


def counts(axis: Axis, places: Array) -> list[int]:
    """How many of the places are in each bin of an axis."""
    known = places[np.isfinite(places)]
    return [int(count) for count in np.bincount(_bins(axis, known).astype(int), minlength=axis.bins)]


def in_bin(axis: Axis, places: Array, index: int) -> npt.NDArray[np.bool_]:
    """Which of the places are in a bin."""
    return np.asarray(np.floor(_bins(axis, places)) == index)


def filled(axis: Axis) -> npt.NDArray[np.bool_]:
    """Which bins of an axis hold any of its values: a log scale has gaps between small whole numbers."""
    return np.array(counts(axis, np.array(axis.grid)), dtype=bool) if axis.grid else np.ones(axis.bins, dtype=bool)


def _bins(axis: Axis, places: Array) -> Array:
    return places if axis.categorical else np.minimum(axis.bins - 1, places * axis.bins)


def gaps(axes: Axes, places: Array) -> tuple[Gap, ...]:
    """What is untried of each axis, in the order of the axes; nothing for an axis that is all tried, or not at all.

    `places` are of what was tried, a row each.
    """
    found = []
    for column, axis in enumerate(axes.all):
        tried = counts(axis, places[:, column])
        untried = [i for i, holds in enumerate(filled(axis)) if holds and not tried[i]]
        if any(tried) and untried:
            found.append(Gap(name=axis.name, bins=tuple(untried)))
    return tuple(found)
