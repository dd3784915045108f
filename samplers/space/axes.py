"""Parameters as axes of a unit cube: numbers at their (log) position in [0, 1], choices at their index.

Choices that are numbers in ascending order are levels: they stand in [0, 1] as well, evenly, so that they have
neighbours.

Places become points of a Euclidean space, in which the distance of two configurations says how much they differ. The
ends of a number's range are 1 apart, and so are any two choices. A parameter that a configuration does not have stands
in the middle of its axis, and off it: so a trial of one branch of a conditional space is as far from the trials of
another as half a range is.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.records import Params
from .notation import choice_index, format_value
from .space import Space
from .values import nearest

Array: TypeAlias = npt.NDArray[np.float64]  # trials or candidates in rows, axes in columns

BINS = 5  # parts of a range that are told apart: 20 trials fill each a few times
LARGEST_GRID = 64  # values of an axis that are listed one by one, and compared with all candidates
ABSENT = math.nan  # the place of a parameter that a trial does not have: NaN is near nothing
SMALLEST = 5e-324  # the smallest float: a value of an older, linear range may have no logarithm
CHOICE: Final = 1 / math.sqrt(2)  # two points that differ in a choice differ in two coordinates: they are 1 apart
MIDDLE: Final = 0.5  # where on its axis a parameter stands that a configuration does not have
OFF_AXIS: Final = 0.5  # and how far off it: one branch is as far from another as half a range


class Axis:
    """One parameter with more than one value."""

    def __init__(self, name: str, distribution: BaseDistribution) -> None:
        self.name = name
        self.distribution = distribution
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
        self.levels = choices if _ascend(choices) else ()
        self.choices = () if self.levels else choices
        self.categorical = bool(self.choices)  # its values have no order
        self.count = count_values(distribution)
        self.bins = len(self.choices) or int(min(self.count, BINS))
        self._numeric = cast(Any, distribution)  # a range, unless there are choices or levels
        counted = not self.choices and math.isfinite(self.count)
        # Whole numbers on a log scale; all others that can be counted have neighbours at the same distance.
        self.uneven = counted and not self.levels and has_log_scale(self._numeric)
        self.step = 1 / max(1, self.count - 1) if counted and not self.uneven else 0.0

    def place(self, value: Any) -> float:
        """Find where a value stands: a choice at its index, else in [0, 1], which older and wider ranges are cut to.

        A value of another kind, stored before the parameter became what it is now, is `ABSENT`.
        """
        values = self.choices or self.levels
        if values:
            index = choice_index(value, values)
            return ABSENT if index is None else index * (self.step or 1.0)
        if not isinstance(value, int | float):
            return ABSENT
        return min(1.0, max(0.0, to_unit(float(value), self._numeric)))

    def value(self, place: float) -> Any:
        """Find the value that stands at a place: on the parameter's grid, as the prompt writes it."""
        if self.choices:
            return self.choices[round(place)]
        if place in self._grid_values:
            return self._grid_values[place]
        place = min(1.0, max(0.0, place))
        return self.levels[round(place / self.step)] if self.levels else self._number(place)

    @cached_property
    def _grid_values(self) -> dict[float, Any]:
        """The values by their places, since most candidates stand on these."""
        return dict(zip(self.grid, self.levels or map(self._number, self.grid), strict=True))

    def _number(self, place: float) -> int | float:
        low, high = self._numeric.low, self._numeric.high
        if has_log_scale(self._numeric):
            number = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        else:
            number = low + place * (high - low)
        if math.isfinite(self.count):
            return nearest(number, self._numeric)
        return float(format_value(min(high, max(low, number)), self._numeric))

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """The places of its values, where they are few; those of choices are their indices."""
        if self.count > LARGEST_GRID:
            return ()
        if self.choices or self.levels or self.step:
            return tuple(index * (self.step or 1.0) for index in range(int(self.count)))
        low, high = self._numeric.low, self._numeric.high
        return tuple(self.place(value) for value in range(int(low), int(high) + 1))

    def snap(self, places: Array) -> Array:
        """Move places to those of the nearest values, on an uneven axis."""
        least, most = float(self._numeric.low), float(self._numeric.high)
        low, high = math.log(least), math.log(most)
        values = np.clip(np.rint(np.exp(low + places * (high - low))), least, most)
        return np.asarray((np.log(values) - low) / (high - low))


def _ascend(choices: Sequence[Any]) -> bool:
    """Whether choices are levels: at least three numbers from low to high, of which neighbours are alike."""
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    return len(choices) > 2 and numbers == list(choices) and all(a < b for a, b in itertools.pairwise(numbers))


def to_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Say where a value lies in the (log) range: 0 at its low end, 1 at its high one; 0 if both are the same."""
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.0
    if has_log_scale(distribution):
        return (math.log(max(value, SMALLEST)) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


def has_log_scale(distribution: FloatDistribution | IntDistribution) -> bool:
    """Whether values stand by their logarithms; bounds that are next to each other may have the same one."""
    return distribution.log and math.log(distribution.low) < math.log(distribution.high)


def to_units(values: Iterable[tuple[float, FloatDistribution]]) -> tuple[float, ...]:
    """Say of several values where each lies in its range."""
    return tuple([to_unit(value, distribution) for value, distribution in values])


def count_values(distribution: BaseDistribution) -> float:
    """Count the values that a parameter can have; infinite if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return 1
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


class Axes:
    """The axes of a search space, in its order; a parameter with only one value has none."""

    def __init__(self, space: Space) -> None:
        self.all = tuple(Axis(name, d) for name, d in space.distributions.items() if name not in space.fixed)
        self.by_name = {axis.name: axis for axis in self.all}

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def steps(self) -> Array:
        """The distance of neighbours on each axis, 0 where it has no even grid."""
        return np.array([axis.step for axis in self.all])

    def places(self, params: Params) -> list[float]:
        """Find the place on each axis; `ABSENT` for a parameter that is not among `params`."""
        return [axis.place(params[axis.name]) if axis.name in params else ABSENT for axis in self.all]


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


def ranks(values: Array) -> Array:
    """Rank values from 0; ties share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(last - (counts + 1) / 2, dtype=float)[inverse]
