"""Places as points of a Euclidean space, in which the distance of two configurations says how much they differ.

The ends of a number's range are 1 apart, and so are any two choices. A parameter that a configuration does not have
stands in the middle of its axis, and off it: so a trial of one branch of a conditional space is as far from the trials
of another as half a range is.
"""

import math
from typing import Final

import numpy as np

from .arrays import Array
from .axes import Axes

CHOICE: Final = 1 / math.sqrt(2)
ABSENT: Final = 0.5


class Embedding:
    """The coordinates of an axis are its number, or one for each choice; and one that says whether it is there."""

    def __init__(self, axes: Axes) -> None:
        sizes = [len(axis.choices) or 1 for axis in axes.all]
        self.size = sum(sizes) + len(sizes)
        self.owners = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.arange(len(sizes))]).astype(int)
        """The axis of each coordinate."""
        starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(int)
        unordered = np.array([axis.categorical for axis in axes.all], dtype=bool)
        self._numbers, self._number_starts = np.flatnonzero(~unordered), starts[~unordered]
        self._choices, self._choice_starts = np.flatnonzero(unordered), starts[unordered]

    def points(self, places: Array) -> Array:
        """A point for each row of places."""
        found = np.zeros((len(places), self.size))
        absent = np.isnan(places)
        numbers = places[:, self._numbers]
        found[:, self._number_starts] = np.where(absent[:, self._numbers], 0.5, numbers)
        rows, columns = np.nonzero(~absent[:, self._choices])
        found[rows, self._choice_starts[columns] + places[rows, self._choices[columns]].astype(int)] = CHOICE
        found[:, self.size - places.shape[1] :] = ABSENT * absent
        return found


def squared_distances(ones: Array, others: Array) -> Array:
    """Of each of `ones` (rows) to each of `others` (columns); both may have leading axes in common."""
    lengths = (ones**2).sum(axis=-1)[..., :, None] + (others**2).sum(axis=-1)[..., None, :]
    return np.asarray(np.maximum(0.0, lengths - 2 * ones @ np.swapaxes(others, -1, -2)))
