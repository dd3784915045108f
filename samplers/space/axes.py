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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.records import Params
from .fit import nearest
from .notation import as_shown, choice_index
from .space import Space

Array: TypeAlias = npt.NDArray[np.float64]  # trials or candidates in rows, axes in columns

BINS = 5  # parts of a range that are told apart: 20 trials fill each a few times
LARGEST_GRID = 64  # values of an axis that are listed one by one, and compared with all candidates
SLACK = 1e-3  # of an axis: the rounding of the prompt, and what counts as the same
ABSENT = math.nan  # the place of a parameter that a trial does not have: NaN is near nothing
SMALLEST = 5e-324  # the smallest float: a value of an older, linear range may have no logarithm
CHOICE: Final = 1 / math.sqrt(2)  # two points that differ in a choice differ in two coordinates: they are 1 apart
MIDDLE: Final = 0.5  # where on its axis a parameter stands that a configuration does not have
OFF_AXIS: Final = 0.5  # and how far off it: one branch is as far from another as half a range


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A part of a number's range, with both ends, in the parameter's own unit."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Some of a parameter's choices."""

    values: tuple[Any, ...]


# A part of the search space; parameters that it does not name are free.
Region: TypeAlias = Mapping[str, Interval | Choices]


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
        self.uneven = counted and not self.levels and self._numeric.log
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
        return self.values((place,))[place]

    def values(self, places: Iterable[float]) -> dict[float, Any]:
        """Find the value at each of the places that are not `ABSENT`."""
        wanted = [place for place in places if not math.isnan(place)]
        if self.choices:
            return {place: self.choices[round(place)] for place in wanted}
        grid = self._grid_values
        between = [place for place in wanted if place not in grid]
        found = dict(zip(between, self._between(between), strict=True))
        return {place: grid[place] if place in grid else found[place] for place in wanted}

    @cached_property
    def _grid_values(self) -> dict[float, Any]:
        """The values by their places, since most candidates stand on these."""
        return dict(zip(self.grid, self.levels or self._between(self.grid), strict=True))

    def _between(self, places: Sequence[float]) -> Sequence[Any]:
        places = [min(1.0, max(0.0, place)) for place in places]
        if self.levels:
            return [self.levels[round(place / self.step)] for place in places]
        low, high = self._numeric.low, self._numeric.high
        if self._numeric.log:
            first, last = math.log(low), math.log(high)
            numbers = [math.exp(first + place * (last - first)) for place in places]
        else:
            numbers = [low + place * (high - low) for place in places]
        if math.isfinite(self.count):
            return [nearest(number, self._numeric) for number in numbers]
        return as_shown([min(high, max(low, number)) for number in numbers], self._numeric)

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
        low, high = math.log(self._numeric.low), math.log(self._numeric.high)
        values = np.clip(np.rint(np.exp(low + places * (high - low))), self._numeric.low, self._numeric.high)
        return np.asarray((np.log(values) - low) / (high - low))

    def part(self, values: Sequence[Any]) -> "Interval | Choices":
        """Make the part that some of its values span."""
        return Choices(values=tuple(values)) if self.choices else Interval(low=min(values), high=max(values))

    @cached_property
    def full_part(self) -> "Interval | Choices":
        """All of it."""
        return self.part(self.choices) if self.choices else self.interval(0.0, 1.0)

    def interval(self, low: float, high: float) -> Interval:
        """Make the part of the range between two places."""
        return Interval(low=self.value(low), high=self.value(high))

    def bin(self, place: float) -> int:
        """Find which of the `bins` equal parts of the axis a place is in."""
        return round(place) if self.choices else min(self.bins - 1, int(place * self.bins))

    def span(self, first: int, last: int) -> Interval:
        """Make the part that bins in a row cover: of a grid, from their first point to their last."""
        low, high = first / self.bins, (last + 1) / self.bins
        if self.step:
            low = math.ceil(low / self.step - 1e-9) * self.step
            high = 1.0 if last + 1 == self.bins else (math.ceil(high / self.step - 1e-9) - 1) * self.step
        return self.interval(low, high)

    def holds(self, part: Interval | Choices, value: Any) -> bool:
        """Whether a value is in a part of this axis, to the rounding of the prompt."""
        if isinstance(part, Choices):
            return choice_index(value, part.values) is not None
        if self.choices:
            return False
        return self.place(part.low) - SLACK <= self.place(value) <= self.place(part.high) + SLACK


def _ascend(choices: Sequence[Any]) -> bool:
    """Whether choices are levels: at least three numbers from low to high, of which neighbours are alike."""
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    return len(choices) > 2 and numbers == list(choices) and all(a < b for a, b in itertools.pairwise(numbers))


def to_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Say where a value lies in the (log) range: 0 at its low end, 1 at its high one; 0 if both are the same."""
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.0
    if distribution.log:
        return (math.log(max(value, SMALLEST)) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


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

    def spanned(self, menu: Mapping[str, Sequence[Any]]) -> Region:
        """Make the region that the values of a menu span."""
        return {name: self.by_name[name].part(values) for name, values in menu.items() if name in self.by_name}

    def center(self, region: Region) -> list[float]:
        """Find the middle of a region: its first choice where it names some, `ABSENT` where it is free."""
        return [_middle(axis, region.get(axis.name)) for axis in self.all]

    def inside(self, region: Region, params: Params) -> float:
        """Compute the share of the region's parameters whose values are in it; 1 for a region that names none."""
        checked = [name for name in region if name in self.by_name and name in params]
        held = sum(self.by_name[name].holds(region[name], params[name]) for name in checked)
        return held / len(checked) if checked else 1.0


def _middle(axis: Axis, part: Interval | Choices | None) -> float:
    if part is None:
        return ABSENT
    if isinstance(part, Choices):
        return axis.place(part.values[0])
    return (axis.place(part.low) + axis.place(part.high)) / 2


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
