"""Candidates for an ask, as rows of places: spread over the space, around a trial, or put together from the best."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..space.axes import Array, Axes, Axis

Rng: TypeAlias = "np.random.Generator"  # as a string, since numpy imports its generators when they are first named

# Chance that a candidate keeps a place that may change: of three places, most candidates then change two or all.
KEEP_CHANCE: Final = 0.3

# Standard deviations of a change, as shares of the trust region's side, drawn in equal parts: fine steps polish the
# trial, coarse ones reach the region's border.
STEP_SHARES: Final = (0.15, 0.5)

# A parameter that the trials of a choice lack is no accident if it would be one so seldom. A study with some choices
# makes a dozen comparisons, again after each trial, and each wrong one is told to the model.
MAX_CHANCE: Final = 0.01

# Trials that a part of an axis without any value seems to hold: more than a study has, so that it is never filled.
EMPTY_BIN_TRIALS: Final = 1_000_000


def uniform(axes: Axes, rng: Rng, count: int) -> Array:
    """Draw uniformly on every axis."""
    drawn = rng.random((count, len(axes)))
    for column, axis in enumerate(axes.all):
        if axis.choices:
            drawn[:, column] = rng.integers(len(axis.choices), size=count)
    return drawn


def least_tried(axes: Axes, taken: Array, rng: Rng, count: int) -> Array:
    """Draw in the least tried part of every axis, as a Latin hypercube fills them in turn (McKay et al., 1979)."""
    drawn = np.empty((count, len(axes)))
    for column, axis in enumerate(axes.all):
        tried = _bin_counts(axis, taken[:, column])
        grid = np.array(axis.grid)
        if len(grid):  # whole numbers on a log scale leave some parts empty
            tried = tried + EMPTY_BIN_TRIALS * (_bin_counts(axis, grid) == 0)
        bins = rng.choice(np.flatnonzero(tried == tried.min()), size=count)
        if len(grid):
            drawn[:, column] = [rng.choice(grid[_bins(axis, grid) == index]) for index in bins]
        else:
            drawn[:, column] = (bins + rng.random(count)) / axis.bins
    return drawn


def _bin_counts(axis: Axis, places: Array) -> npt.NDArray[np.int_]:
    return np.bincount(_bins(axis, places[np.isfinite(places)]), minlength=axis.bins)


def _bins(axis: Axis, places: Array) -> npt.NDArray[np.int_]:
    """Which part of the axis each place is in."""
    return (places if axis.choices else np.minimum(axis.bins - 1, places * axis.bins)).astype(int)


def around(axes: Axes, base: Array, columns: Sequence[int], length: float, rng: Rng, count: int) -> Array:
    """Change a trial on some axes, by steps in proportion to the trust region's `length`."""
    drawn = np.tile(base, (count, 1))
    for column in columns:
        axis = axes.all[column]
        changed = rng.random(count) >= KEEP_CHANCE
        if axis.choices:
            places = rng.integers(len(axis.choices), size=count).astype(float)
        else:
            reach = np.maximum(length * rng.choice(STEP_SHARES, size=count), axis.step)
            places = np.clip(base[column] + reach * rng.standard_normal(count), 0.0, 1.0)
        drawn[changed, column] = places[changed]
    return drawn


def crossed(parents: Array, rng: Rng, count: int) -> Array:
    """Take each place from one of the parents, best first; places that the first one lacks stay NaN."""
    drawn = parents[rng.integers(len(parents), size=(count, parents.shape[1])), np.arange(parents.shape[1])]
    return np.where(np.isnan(parents[0]) | np.isnan(drawn), parents[0], drawn)


def on_grid(axes: Axes, places: Array) -> Array:
    """Move every place to its axis' grid, where it has one."""
    safe = np.where(axes.steps > 0, axes.steps, 1.0)
    snapped = np.where(axes.steps > 0, np.round(places / safe) * safe, places)
    for column, axis in enumerate(axes.all):
        if axis.uneven:
            snapped[:, column] = axis.snap(snapped[:, column])
    return snapped


class Inactive(NamedTuple):
    """Columns of parameters that none of the `trials` with a choice of the parameter in `column` had."""

    column: int
    choice: int
    columns: Sequence[int]
    trials: int


class _Absence(NamedTuple):
    """A choice with which none of the `rows` had something; `chance`: how likely that is if it is not the reason."""

    chance: float
    column: int
    choice: int
    rows: npt.NDArray[np.bool_]

    def explains(self, other: "_Absence") -> bool:
        """Whether it holds for all trials of the other one, and as surely: then the other one tells nothing."""
        covers = not (other.rows & ~self.rows).any()
        return self.column != other.column and covers and self.chance <= other.chance


def inactive(axes: Axes, tried: Array) -> Iterator[Inactive]:
    """Find the parameters that are inactive under a choice, judging by the trials.

    A parameter is inactive under a choice if none of the trials with it had the parameter, while enough of those with
    other choices had it, so that this is no chance. Of two choices that explain the same the one with more trials
    counts, and neither where they have the same trials.
    """
    present = ~np.isnan(tried)
    conditional = present.any(axis=0) & ~present.all(axis=0)
    if not conditional.any():
        return
    absences: dict[int, list[_Absence]] = {}  # by the column of what is absent
    for column, axis in enumerate(axes.all):
        for choice in range(len(axis.choices)):
            rows = tried[:, column] == choice
            others = present[:, column] & ~rows
            if not (rows.any() and others.any()):
                continue
            chances = (1.0 - present[others].mean(axis=0)) ** rows.sum()
            lacking = np.flatnonzero(conditional & ~present[rows].any(axis=0) & (chances <= MAX_CHANCE))
            for absent in map(int, lacking):
                absences.setdefault(absent, []).append(_Absence(float(chances[absent]), column, choice, rows))
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for absent, reasons in absences.items():
        for one in reasons:
            if not any(other.explains(one) for other in reasons):
                found.setdefault((one.column, one.choice), []).append((absent, int(one.rows.sum())))
    for (column, choice), columns in sorted(found.items()):
        yield Inactive(column, choice, sorted(absent for absent, _ in columns), columns[0][1])


def without_inactive(axes: Axes, places: Array, tried: Array) -> Array:
    """Blank out (NaN) the parameters that are inactive under a candidate's choices."""
    active = places.copy()
    for column, choice, columns, _ in inactive(axes, tried):
        active[np.ix_(np.flatnonzero(places[:, column] == choice), np.array(columns))] = math.nan
    return active
