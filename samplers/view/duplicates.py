"""Which configurations are the same for all practical purposes.

Two are duplicates if they have the same parameters, all discrete values are equal, and every float is within
`TOLERANCE` of its range (of its logarithm's range, for log parameters).
"""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from ...engine.records import Params, SearchSpace
from ...engine.study.distributions import plain
from ...engine.study.snapshot import is_interrupted
from ..space import scale
from .following import Unseen

TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A configuration as the comparison sees it: exact discrete values, and floats scaled to [0, 1]."""

    discrete: tuple[tuple[str, Any], ...]
    scaled: tuple[float, ...]

    def near(self, other: "Point", within: float = TOLERANCE) -> bool:
        """Whether the two are duplicates, or `within` that share of the range of each other in every float."""
        return self.discrete == other.discrete and all(
            abs(a - b) <= within for a, b in zip(self.scaled, other.scaled, strict=True)
        )


def point(params: Params, space: SearchSpace) -> Point:
    """The point of the parameters that `params` and `space` share, as parameters of the same kind."""
    discrete, scaled = [], []
    for name, distribution in space.items():
        if name not in params or not _is_of(params[name], distribution):
            continue
        if isinstance(distribution, FloatDistribution) and distribution.step is None:
            scaled.append(scale.to_unit(params[name], distribution))
            discrete.append((name, None))
        else:
            discrete.append((name, _discrete(params[name], distribution)))
    return Point(discrete=tuple(discrete), scaled=tuple(scaled))


def size(space: SearchSpace) -> float:
    """How many different configurations a space holds; infinite if one parameter is continuous."""
    return math.prod(map(scale.count_values, space.values()))


class Index:
    """The points of finished trials, kept up as they come, for one search space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.size = size(space)
        self._unseen = Unseen()
        self._groups: dict[tuple[Any, ...], list[tuple[float, int, Point]]] = {}
        self.shapes: set[tuple[str, ...]] = set()

    def stands(self, finished: Sequence[FrozenTrial]) -> int:
        """How many of the finished trials of a snapshot need not be looked at again."""
        return self._unseen.known(finished)

    def update(self, finished: Sequence[FrozenTrial], until: int | None = None) -> None:
        """Take in those of the first `until` of a snapshot's finished trials, or of all, that were not seen yet."""
        for trial in self._unseen.among(finished, len(finished) if until is None else until):
            made = point(trial.params, self.space)
            if made.discrete and not is_interrupted(trial):
                if len(made.discrete) == len(self.space.keys() & trial.params.keys()):
                    self.shapes.add(tuple(name for name, _ in made.discrete))
                group = self._groups.setdefault(made.discrete, [])
                bisect.insort(group, (made.scaled[0] if made.scaled else 0.0, trial.number, made))

    def find(self, wanted: Point) -> int | None:
        """The number of a finished trial that is a duplicate of `wanted`."""
        group = self._groups.get(wanted.discrete, ())
        center = wanted.scaled[0] if wanted.scaled else 0.0
        for position in range(bisect.bisect_left(group, (center - TOLERANCE,)), len(group)):
            first, number, other = group[position]
            if first > center + TOLERANCE:
                return None
            if wanted.near(other):
                return number
        return None

    @property
    def discrete_points(self) -> set[tuple[Any, ...]]:
        """The different discrete parts seen; in a finite space, the different configurations."""
        return set(self._groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """The configuration that a proposal repeats: its trial's number, None for one that is no trial yet."""

    number: int | None
    in_flight: bool

    def __str__(self) -> str:
        if self.number is None:
            return "the configuration is the same as one that is being proposed at this moment"
        state = "is running" if self.in_flight else "has finished"
        return f"the configuration is the same as that of trial {self.number}, which {state}"


def find_clash(
    params: Params, flying: Iterable["Flying"], finished: Sequence[FrozenTrial], index: Index, *, union: bool = False
) -> Clash | None:
    """What `params` repeat of the finished, running and reserved configurations.

    `union`: a trial suggests only a part of the parameters, so `params` repeat every finished trial that agrees with
    them on all that it suggested.
    """
    wanted = point(params, index.space)
    for other in flying:
        if wanted.near(other.point):
            return Clash(number=other.number, in_flight=True)
    index.update(finished)
    shapes = [shape for shape in sorted(index.shapes) if params.keys() > {*shape}] if union else []
    parts = (point({name: params[name] for name in shape}, index.space) for shape in shapes)
    for part in itertools.chain([wanted], parts):
        number = index.find(part)
        if number is not None:
            return Clash(number=number, in_flight=False)
    return None


def exhausted(flying: Sequence["Flying"], finished: Sequence[FrozenTrial], index: Index) -> bool:
    """Whether every configuration of a finite space is finished or in flight."""
    if index.size > len(finished) + len(flying):
        return False
    index.update(finished)
    seen = index.discrete_points | {other.point.discrete for other in flying}
    return sum(len(key) == len(index.space) for key in seen) >= index.size


class Flying(Protocol):
    """A configuration in flight: its trial's number, None while it is only reserved."""

    @property
    def number(self) -> int | None: ...

    @property
    def point(self) -> Point: ...


def _is_of(value: Any, distribution: BaseDistribution) -> bool:
    """Whether a value may be of this distribution, or of an earlier range of it: a choice may have become a number."""
    return isinstance(value, int | float) or isinstance(distribution, CategoricalDistribution)


def _discrete(value: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((value - distribution.low) / distribution.step)
    if isinstance(distribution, CategoricalDistribution):
        return type(plain(value)).__name__, repr(plain(value))
    return value
