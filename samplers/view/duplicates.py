"""Which configurations are the same for all practical purposes.

Two are duplicates if they have the same parameters, all discrete values are equal, and every float is within
`TOLERANCE` of its range (of its logarithm's range, for log parameters).
"""

import bisect
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from ...engine.records import Params, SearchSpace
from ...engine.study.attributes import is_interrupted
from ...engine.study.distributions import plain
from ..space.axes import count_values, to_units
from ..space.notation import PLAIN_TYPES
from .following import Following

# Prompts show numbers with four digits: values that are closer than this could be the same to the model.
TOLERANCE = 1e-3

REAL_TYPES = (int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A configuration as the comparison sees it: exact discrete values, and floats scaled to [0, 1]."""

    discrete: tuple[tuple[str, Any], ...]
    scaled: tuple[float, ...]

    def near(self, other: "Point", within: float = TOLERANCE) -> bool:
        """Whether all discrete values are equal and every float differs by at most `within` of its range."""
        return self.discrete == other.discrete and all(
            abs(a - b) <= within for a, b in zip(self.scaled, other.scaled, strict=True)
        )


def point(params: Params, space: SearchSpace) -> Point:
    """Make the point of the parameters that `params` and `space` share, as parameters of the same kind."""
    discrete: list[tuple[str, Any]] = []
    continuous = []
    for name, distribution in space.items():
        if name not in params:
            continue
        value = params[name]
        # The commonest kind first: what `isinstance` denies takes ten times as long, these classes being abstract.
        if isinstance(distribution, FloatDistribution):
            if not isinstance(value, REAL_TYPES):  # it was a choice before it became a number
                continue
            if distribution.step is None:
                continuous.append((value, distribution))
                value = None
            else:
                value = _grid_index(value, distribution.low, distribution.step)
            discrete.append((name, value))
        elif isinstance(distribution, CategoricalDistribution):
            discrete.append((name, _choice(value)))
        elif isinstance(value, REAL_TYPES):
            discrete.append((name, value))
    return Point(discrete=tuple(discrete), scaled=to_units(continuous))


def _choice(value: Any) -> tuple[str, str]:
    value = value if type(value) in PLAIN_TYPES else plain(value)
    return type(value).__name__, repr(value)


def _grid_index(value: float, low: float, step: float) -> float:
    """The index of a value on a grid; between two indices if it is of another grid, which the parameter had before."""
    place = (value - low) / step
    index = round(place)
    return index if abs(place - index) <= TOLERANCE else place


def _discrete_values(distribution: BaseDistribution) -> Container[Any]:
    """All that a parameter can have in a `Point`; None stands for any value of a continuous one."""
    if isinstance(distribution, CategoricalDistribution):
        return frozenset(map(_choice, distribution.choices))
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return (None,) if distribution.step is None else range(int(count_values(distribution)))


def count_configurations(space: SearchSpace) -> float:
    """Count the configurations of a space; infinite if one parameter is continuous."""
    return math.prod(map(count_values, space.values()))


class DuplicateIndex(Following):
    """The points of finished trials in one search space, for finding duplicates without comparing all."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.size = count_configurations(space)
        self._values = {name: _discrete_values(distribution) for name, distribution in space.items()}
        super().__init__()

    def _clear(self) -> None:
        self._groups: dict[tuple[Any, ...], list[tuple[float, int, Point]]] = {}
        self._shapes: set[tuple[str, ...]] = set()

    def _add(self, trial: FrozenTrial) -> None:
        made = point(trial.params, self.space)
        if made.discrete and not is_interrupted(trial):
            if len(made.discrete) == len(self.space.keys() & trial.params.keys()):
                self._shapes.add(tuple(name for name, _ in made.discrete))
            bisect.insort(self._groups.setdefault(made.discrete, []), (_first(made), trial.number, made))

    def _undo(self, trial: FrozenTrial) -> None:
        """Shapes stay: the trial comes again, a place later."""
        made = point(trial.params, self.space)
        if made.discrete and not is_interrupted(trial):
            group = self._groups[made.discrete]
            group.remove((_first(made), trial.number, made))
            if not group:
                del self._groups[made.discrete]

    def find(self, wanted: Point) -> int | None:
        """Find a finished trial that is the same, and give its number; None if there is no such trial."""
        group = self._groups.get(wanted.discrete, ())
        center = _first(wanted)
        for position in range(bisect.bisect_left(group, (center - TOLERANCE,)), len(group)):
            first, number, other = group[position]
            if first > center + TOLERANCE:
                return None
            if wanted.near(other):
                return number
        return None

    def find_part(self, params: Params) -> int | None:
        """Find a finished trial that suggested only a part of the parameters, and agrees with `params` on all of it."""
        shapes = [shape for shape in sorted(self._shapes) if params.keys() > {*shape}]
        parts = (point({name: params[name] for name in shape}, self.space) for shape in shapes)
        return next((number for number in map(self.find, parts) if number is not None), None)

    def is_full(self, others: Sequence[Point]) -> bool:
        """Whether the index and `others` together hold every configuration of a finite space.

        Trials from before a range was narrowed or moved may have values that are none of it now.
        """
        if self.size > self.known + len(others):
            return False
        found = self._groups.keys() | {other.discrete for other in others}
        return sum(len(values) == len(self.space) and self._holds(values) for values in found) >= self.size

    def _holds(self, discrete: tuple[tuple[str, Any], ...]) -> bool:
        return all(value in self._values[name] for name, value in discrete)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The configuration that a proposal repeats: its trial's number, None for one that is no trial yet."""

    number: int | None
    in_flight: bool

    def __str__(self) -> str:
        if self.number is None:
            return "the configuration is the same as one that is being proposed at this moment"
        state = "is running" if self.in_flight else "has finished"
        return f"the configuration is the same as that of trial {self.number}, which {state}"


def _first(made: Point) -> float:
    """Give what points with the same discrete values are sorted by."""
    return made.scaled[0] if made.scaled else 0.0
