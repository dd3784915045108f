"""Candidates for an ask, as rows of places: spread over the space, around a trial, or put together from the best."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..space.arrays import Array
from ..space.axes import Axes
from .coverage import counts, filled, in_bin
from .failures import Risk

Rng = np.random.Generator

KEPT_PLACE: Final = 0.3
"""Chance that a candidate keeps one of the places that may change: so that some change less than others."""

STEPS: Final = (0.15, 0.5)
"""Standard deviations of a change, as shares of the trust region's side: fine and coarse ones."""

RISKY: Final = 1_000
"""What counts as many trials: parts of an axis where trials fail are the last ones to be filled."""

NOTHING_THERE: Final = 1_000_000
"""The same for parts of an axis that hold none of its values: they are never filled."""


def anywhere(axes: Axes, rng: Rng, count: int) -> Array:
    """Uniform on every axis."""
    found = rng.random((count, len(axes)))
    for column, axis in enumerate(axes.all):
        if axis.categorical:
            found[:, column] = rng.integers(len(axis.choices), size=count)
    return found


def untried(axes: Axes, taken: Array, risks: Sequence[Risk], rng: Rng, count: int) -> Array:
    """In the least tried part of every axis, as a Latin hypercube fills them in turn (McKay et al., 1979)."""
    found = np.empty((count, len(axes)))
    for column, axis in enumerate(axes.all):
        tried = np.array(counts(axis, taken[:, column])) + NOTHING_THERE * ~filled(axis)
        for risk in risks:
            if risk.name == axis.name:
                tried[risk.bin] += RISKY
        bins = rng.choice(np.flatnonzero(tried == tried.min()), size=count)
        grid = np.array(axis.grid)
        if len(grid):
            found[:, column] = [rng.choice(grid[in_bin(axis, grid, index)]) for index in bins]
        else:
            found[:, column] = (bins + rng.random(count)) / axis.bins
    return found


def around(axes: Axes, base: Array, columns: Sequence[int], length: float, rng: Rng, count: int) -> Array:
    """Changes of a trial on some axes, of a size that follows the trust region's `length`."""
    found = np.tile(base, (count, 1))
    for column in columns:
        axis = axes.all[column]
        changed = rng.random(count) >= KEPT_PLACE
        if axis.categorical:
            places = rng.integers(len(axis.choices), size=count).astype(float)
        else:
            reach = np.maximum(length * rng.choice(STEPS, size=count), axis.step)
            places = np.clip(base[column] + reach * rng.standard_normal(count), 0.0, 1.0)
        found[changed, column] = places[changed]
    return found


def crossed(parents: Array, rng: Rng, count: int) -> Array:
    """Each place from one of the parents, the first of which is the best; what it does not have stays away."""
    found = parents[rng.integers(len(parents), size=(count, parents.shape[1])), np.arange(parents.shape[1])]
    return np.where(np.isnan(parents[0]) | np.isnan(found), parents[0], found)


def on_grid(axes: Axes, places: Array) -> Array:
    """The same candidates with every place on its axis' grid, where it has one."""
    safe = np.where(axes.steps > 0, axes.steps, 1.0)
    found = np.where(axes.steps > 0, np.round(places / safe) * safe, places)
    for column, axis in enumerate(axes.all):
        if axis.uneven:
            found[:, column] = axis.snap(found[:, column])
    return found


def without_idle(axes: Axes, places: Array, seen: Array) -> Array:
    """Candidates without the parameters that no trial had together with one of their choices, while others had them.

    So the branches of a conditional space are known from the trials alone.
    """
    present = ~np.isnan(seen)
    partial = present.any(axis=0) & ~present.all(axis=0)
    if not partial.any():
        return places
    found = places.copy()
    for column, axis in enumerate(axes.all):
        for choice in range(len(axis.choices)):
            met = present[seen[:, column] == choice]
            if len(met):
                idle = np.flatnonzero(partial & ~met.any(axis=0))
                found[np.ix_(np.flatnonzero(places[:, column] == choice), idle)] = math.nan
    return found
