"""Which configurations are the same for all practical purposes.

Two are duplicates if they have the same parameters, all discrete values are equal, and every float is within
`TOLERANCE` of its range (of its logarithm's range, for log parameters).
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from ...engine.records import Params, SearchSpace
from ...engine.study.attributes import is_interrupted
from ...engine.study.distributions import plain
from ..space.axes import count_values, to_units
from ..space.notation import PLAIN_TYPES
from .following import Following

# Prompts show numbers with four digits: values that are closer than this could be the same to the model.
TOLERANCE = 1e-3


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
        if isinstance(distribution, CategoricalDistribution):
            value = value if type(value) in PLAIN_TYPES else plain(value)
            discrete.append((name, (type(value).__name__, repr(value))))
        elif isinstance(value, int | float):  # else it was a choice before it became a number
            if isinstance(distribution, FloatDistribution):
                if distribution.step is None:
                    continuous.append((value, distribution))
                    value = None
                else:
                    value = round((value - distribution.low) / distribution.step)
            discrete.append((name, value))
    return Point(discrete=tuple(discrete), scaled=to_units(continuous))


def count_configurations(space: SearchSpace) -> float:
    """Count the configurations of a space; infinite if one parameter is continuous."""
    return math.prod(map(count_values, space.values()))


class DuplicateIndex(Following):
    """The points of finished trials in one search space, for finding duplicates without comparing all."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.size = count_configurations(space)
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
        """Whether the index and `others` together hold every configuration of a finite space."""
        if self.size > self.known + len(others):
            return False
        discrete = self._groups.keys() | {other.discrete for other in others}
        return sum(len(values) == len(self.space) for values in discrete) >= self.size


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
