"""What has not been tried: parts of single axes, and the emptiest places of the whole space."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .axes import ABSENT, Axes, Axis
from .evidence import Array, Evidence

CANDIDATES = 48
MISMATCH = 0.5
"""Distance of two different choices, where the ends of a number's range are 1 apart."""

UNKNOWN = 0.25
"""Distance on an axis where one of the two has no value: about that of two random places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The parts of one axis that no finished trial is in, as indices of its bins."""

    name: str
    bins: tuple[int, ...]


def counts(axis: Axis, places: Array) -> list[int]:
    """How many of the places are in each bin of an axis."""
    known = places[np.isfinite(places)]
    bins = known if axis.categorical else np.minimum(axis.bins - 1, known * axis.bins)
    return [int(count) for count in np.bincount(bins.astype(int), minlength=axis.bins)]


def gaps(evidence: Evidence) -> tuple[Gap, ...]:
    """What is untried of each axis, in the order of the axes; nothing for an axis that is all tried, or not at all."""
    places = evidence.newest.places
    found = []
    for column, axis in enumerate(evidence.axes.all):
        tried = counts(axis, places[:, column])
        if any(tried) and not all(tried):
            found.append(Gap(name=axis.name, bins=tuple(i for i, count in enumerate(tried) if not count)))
    return tuple(found)


def emptiest(axes: Axes, taken: Array, rng: random.Random, avoided: Sequence[frozenset[int]] = ()) -> list[float]:
    """The place, of some drawn at random, whose nearest neighbour among `taken` is farthest (Johnson et al., 1990).

    `avoided` holds bins for each axis that candidates keep out of where they can.
    """
    candidates = np.array([_candidate(axes, rng, avoided) for _ in range(CANDIDATES)], dtype=float)
    if not len(taken):
        return [float(place) for place in candidates[0]]
    nearest = distances(axes, candidates, taken).min(axis=1)
    return [float(place) for place in candidates[int(nearest.argmax())]]


def distances(axes: Axes, ones: Array, others: Array) -> Array:
    """Euclidean distances of each of `ones` (rows) to each of `others` (columns)."""
    total = np.zeros((len(ones), len(others)))
    for column, axis in enumerate(axes.all):
        apart = np.abs(ones[:, column, None] - others[None, :, column])
        if axis.categorical:
            apart = np.where(np.isnan(apart), apart, MISMATCH * (apart > 0))
        total += np.where(np.isnan(apart), UNKNOWN, apart) ** 2
    return np.sqrt(total)


def _candidate(axes: Axes, rng: random.Random, avoided: Sequence[frozenset[int]]) -> list[float]:
    return [_place(axis, rng, avoided[i] if avoided else frozenset()) for i, axis in enumerate(axes.all)]


def _place(axis: Axis, rng: random.Random, avoided: frozenset[int]) -> float:
    place = ABSENT
    for _ in range(4):
        place = float(rng.randrange(len(axis.choices))) if axis.categorical else rng.random()
        if axis.bin(place) not in avoided:
            break
    return place
