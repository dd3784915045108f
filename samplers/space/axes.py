"""Parameters as axes of a unit cube: numbers at their (log) position in [0, 1], choices at their index.

Choices that are numbers in ascending order are levels: they stand in [0, 1] as well, evenly, so that they have
neighbours.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
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
from .scale import count, scaled, unscaled
from .space import Space

BINS = 5
FEW = 64
"""Values of an axis up to which they are listed one by one."""

ABSENT = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A part of a number's range, with both ends, in the parameter's own unit."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Some of a parameter's choices."""

    values: tuple[Any, ...]


Region: TypeAlias = Mapping[str, Interval | Choices]
"""A part of the search space; parameters that it does not name are free."""


class Axis:
    """One parameter with more than one value."""

    def __init__(self, name: str, distribution: BaseDistribution) -> None:
        self.name = name
        self.distribution = distribution
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
        self.levels = choices if ascending(choices) else ()
        self.choices = () if self.levels else choices
        self.count = count(distribution)
        self.bins = len(self.choices) or int(min(self.count, BINS))

    @property
    def categorical(self) -> bool:
        """Whether its values have no order."""
        return bool(self.choices)

    def place(self, value: Any) -> float:
        """Where a value stands: in [0, 1], also one of an older, wider range; a choice at its index.

        `ABSENT` for one that is of another kind, from a time when the parameter was.
        """
        if self.choices or self.levels:
            index = next((i for i, c in enumerate(self.choices or self.levels) if same(value, c)), ABSENT)
            return index * (self.step or 1.0)
        if not isinstance(value, int | float):
            return ABSENT
        return min(1.0, max(0.0, scaled(float(value), self._numeric)))

    def value(self, place: float) -> Any:
        """The value that stands at a place: on the parameter's grid, as the prompt writes it."""
        if self.choices:
            return self.choices[round(place)]
        if self.levels:
            return self.levels[round(min(1.0, max(0.0, place)) / self.step)]
        numeric = self._numeric
        number = unscaled(min(1.0, max(0.0, place)), numeric)
        if math.isfinite(self.count):
            return nearest(number, numeric)
        return float(format_value(min(numeric.high, max(numeric.low, number)), numeric))

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """The places of its values, if they are few; of choices, their indices."""
        if self.count > FEW:
            return ()
        if self.choices or self.levels or self.step:
            return tuple(index * (self.step or 1.0) for index in range(int(self.count)))
        low, high = self._numeric.low, self._numeric.high
        return tuple(self.place(value) for value in range(int(low), int(high) + 1))

    @cached_property
    def uneven(self) -> bool:
        """Whether its values are whole numbers on a log scale."""
        return not self.choices and not self.levels and math.isfinite(self.count) and not self.step

    def snapped(self, places: Array) -> Array:
        """The places of the values that stand nearest, on an uneven axis."""
        low, high = math.log(self._numeric.low), math.log(self._numeric.high)
        values = np.clip(np.rint(np.exp(low + places * (high - low))), self._numeric.low, self._numeric.high)
        return np.asarray((np.log(values) - low) / (high - low))

    def part(self, values: Sequence[Any]) -> "Interval | Choices":
        """The part that some of its values span."""
        return Choices(values=tuple(values)) if self.choices else Interval(low=min(values), high=max(values))

    @cached_property
    def whole(self) -> "Interval | Choices":
        """All of it."""
        return Choices(values=tuple(self.choices)) if self.choices else self.interval(0.0, 1.0)

    def interval(self, low: float, high: float) -> Interval:
        """The part of the range between two places."""
        return Interval(low=self.value(low), high=self.value(high))

    def bin(self, place: float) -> int:
        """Which of the `bins` equal parts of the axis a place is in."""
        return round(place) if self.choices else min(self.bins - 1, int(place * self.bins))

    def span(self, first: int, last: int) -> Interval:
        """The part of a number's range that bins in a row cover; of a grid, from their first point to their last."""
        low, high = first / self.bins, (last + 1) / self.bins
        if self.step:
            low = math.ceil(low / self.step - 1e-9) * self.step
            high = 1.0 if last + 1 == self.bins else (math.ceil(high / self.step - 1e-9) - 1) * self.step
        return self.interval(low, high)

    def holds(self, part: Interval | Choices, value: Any) -> bool:
        """Whether a value is in a part of this axis, to the rounding of the prompt."""
        if isinstance(part, Choices):
            return any(same(value, choice) for choice in part.values)
        if self.choices:
            return False
        slack = 1e-3
        return self.place(part.low) - slack <= self.place(value) <= self.place(part.high) + slack

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
    """Whether choices are numbers from low to high, at least three: levels, of which neighbours are alike."""
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    return len(choices) > 2 and numbers == list(choices) and all(a < b for a, b in itertools.pairwise(numbers))


class Axes:
    """The axes of a search space, in its order; parameters that have only one value are none."""

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
        """One place per axis; `ABSENT` for a parameter that is not given."""
        return [axis.place(params[axis.name]) if axis.name in params else ABSENT for axis in self.all]

    def spanned(self, menu: Mapping[str, Sequence[Any]]) -> Region:
        """The part of the space that the values of a menu span."""
        return {name: self.by_name[name].part(values) for name, values in menu.items() if name in self.by_name}

    def center(self, region: Region) -> list[float]:
        """The middle of a region, of the first choice where it names some; `ABSENT` where it is free."""
        return [_middle(axis, region.get(axis.name)) for axis in self.all]

    def inside(self, region: Region, params: Params) -> float:
        """The share of the region's parameters whose values are in it; 1 for a region without any."""
        checked = [name for name in region if name in self.by_name and name in params]
        held = sum(self.by_name[name].holds(region[name], params[name]) for name in checked)
        return held / len(checked) if checked else 1.0


def _middle(axis: Axis, part: Interval | Choices | None) -> float:
    if part is None:
        return ABSENT
    if isinstance(part, Choices):
        return axis.place(part.values[0])
    return (axis.place(part.low) + axis.place(part.high)) / 2
