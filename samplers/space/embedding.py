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

CHOICE: Final = 1 / math.sqrt(2)  # two points that differ in a choice differ in two coordinates: they are 1 apart
MIDDLE: Final = 0.5  # where on its axis a parameter stands that a configuration does not have
OFF_AXIS: Final = 0.5  # and how far off it: one branch is as far from another as half a range


class Embedding:
    """Turns places into points: one coordinate for a number, one for each choice, and one for being there at all."""

    def __init__(self, axes: Axes) -> None:
        sizes = [len(axis.choices) or 1 for axis in axes.all]
        self.size = sum(sizes) + len(sizes)
        # The axis of each coordinate.
        self.owners = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.arange(len(sizes))]).astype(int)
        starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(int)
        unordered = np.array([axis.categorical for axis in axes.all], dtype=bool)
        self._numbers, self._number_starts = np.flatnonzero(~unordered), starts[~unordered]
        self._choices, self._choice_starts = np.flatnonzero(unordered), starts[unordered]

    def points(self, places: Array) -> Array:
        """Give a point for each row of places."""
        points = np.zeros((len(places), self.size))
        absent = np.isnan(places)
        numbers = places[:, self._numbers]
        points[:, self._number_starts] = np.where(absent[:, self._numbers], MIDDLE, numbers)
        rows, columns = np.nonzero(~absent[:, self._choices])
        points[rows, self._choice_starts[columns] + places[rows, self._choices[columns]].astype(int)] = CHOICE
        points[:, self.size - places.shape[1] :] = OFF_AXIS * absent
        return points


def squared_distances(ones: Array, others: Array) -> Array:
    """Measure each of `ones` (rows) against each of `others` (columns); both may have leading axes in common."""
    lengths = (ones**2).sum(axis=-1)[..., :, None] + (others**2).sum(axis=-1)[..., None, :]
    return np.asarray(np.maximum(0.0, lengths - 2 * ones @ np.swapaxes(others, -1, -2)))
