"""Parameters as axes of a unit cube: numbers at their (log) position in [0, 1], choices at their index.

Choices that are numbers in ascending order are levels: they stand in [0, 1] as well, evenly, so that they have
neighbours.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...engine.records import Params
from ...engine.study.distributions import same
from .arrays import Array
from .fit import nearest
from .notation import format_value
from .scale import count_values, from_unit, to_unit
from .space import Space

BINS = 5  # parts of a range that are told apart: 20 trials fill each a few times
LARGEST_GRID = 64  # values of an axis that are listed one by one, and compared with all candidates
SLACK = 1e-3  # of an axis: the rounding of the prompt, and what counts as the same
ABSENT = math.nan  # the place of a parameter that a trial does not have: NaN is near nothing


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
        self.levels = choices if ascending(choices) else ()
        self.choices = () if self.levels else choices
        self.count = count_values(distribution)
        self.bins = len(self.choices) or int(min(self.count, BINS))

    @property
    def categorical(self) -> bool:
        """Whether its values have no order."""
        return bool(self.choices)

    def place(self, value: Any) -> float:
        """Find where a value stands: a choice at its index, else in [0, 1], which older and wider ranges are cut to.

        A value of another kind, stored before the parameter became what it is now, is `ABSENT`.
        """
        values = self.choices or self.levels
        if values:
            return next((i for i, choice in enumerate(values) if same(value, choice)), ABSENT) * (self.step or 1.0)
        if not isinstance(value, int | float):
            return ABSENT
        return min(1.0, max(0.0, to_unit(float(value), self._numeric)))

    def value(self, place: float) -> Any:
        """Find the value that stands at a place: on the parameter's grid, as the prompt writes it."""
        if self.choices:
            return self.choices[round(place)]
        if self.levels:
            return self.levels[round(min(1.0, max(0.0, place)) / self.step)]
        numeric = self._numeric
        number = from_unit(min(1.0, max(0.0, place)), numeric)
        if math.isfinite(self.count):
            return nearest(number, numeric)
        return float(format_value(min(numeric.high, max(numeric.low, number)), numeric))

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """The places of its values, where they are few; those of choices are their indices."""
        if self.count > LARGEST_GRID:
            return ()
        if self.choices or self.levels or self.step:
            return tuple(index * (self.step or 1.0) for index in range(int(self.count)))
        low, high = self._numeric.low, self._numeric.high
        return tuple(self.place(value) for value in range(int(low), int(high) + 1))

    @cached_property
    def uneven(self) -> bool:
        """Whether its values are whole numbers on a log scale."""
        return not self.choices and not self.levels and math.isfinite(self.count) and not self.step

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
        return Choices(values=tuple(self.choices)) if self.choices else self.interval(0.0, 1.0)

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

    def values(self, places: Iterable[float]) -> dict[float, Any]:
        """Find the value at each of the places that are not `ABSENT`."""
        return {place: self.value(place) for place in places if not math.isnan(place)}

    def holds(self, part: Interval | Choices, value: Any) -> bool:
        """Whether a value is in a part of this axis, to the rounding of the prompt."""
        if isinstance(part, Choices):
            return any(same(value, choice) for choice in part.values)
        if self.choices:
            return False
        return self.place(part.low) - SLACK <= self.place(value) <= self.place(part.high) + SLACK

    @cached_property
    def step(self) -> float:
        """The distance of neighbours on a linear grid, or of levels; 0 without one."""
        if self.choices or math.isinf(self.count) or (not self.levels and self._numeric.log):
            return 0.0
        return 1 / (self.count - 1)

    @cached_property
    def _numeric(self) -> FloatDistribution | IntDistribution:
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.distribution


def ascending(choices: Sequence[Any]) -> bool:
    """Whether choices are levels: at least three numbers from low to high, of which neighbours are alike."""
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    return len(choices) > 2 and numbers == list(choices) and all(a < b for a, b in itertools.pairwise(numbers))


class Axes:
    """The axes of a search space, in its order; a parameter with only one value has none."""

    def __init__(self, space: Space) -> None:
        self.space = space
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
