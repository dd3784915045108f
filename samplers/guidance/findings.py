"""What the trials show: effects of the parameters, parts of them in which trials fail, and parts not tried yet.

Effects are by rank, which makes them deaf to the scale of the values: Spearman's correlation (1904) for numbers, for
choices the correlation ratio of ranks (Fisher), less what chance alone would give (Kelley's adjustment, 1935).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..space.axes import Array, Axes, Axis, ranks
from ..view.evidence import Evidence, TrialWindow

# Complete trials below which no effect is named: among fewer, one trial in another rank decides.
MIN_TRIALS_OF_EFFECT: Final = 6

# Standard errors that a correlation must be away from 0, and the normal quantile of a chi-squared variable: both let
# one effect in twenty be chance.
CORRELATION_ERRORS: Final = 1.96
CHI_SQUARED_ERRORS: Final = 1.645

# Failures below which a part of an axis is not blamed: one may have any reason.
MIN_FAILURES: Final = 2

# A part is blamed if at least this share of its trials failed, and so many times the share elsewhere: most of what is
# tried there is lost, and the parameter explains it.
MIN_FAILURE_SHARE: Final = 0.6
MIN_FAILURE_RATIO: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much a parameter moves the value: `strength` from 0 to 1, `best` where losses are low.

    `best` is "low" or "high" for a number, the index of a choice else.
    """

    name: str
    strength: float
    best: str | int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A bin of an axis in which trials fail, with how many of its trials failed."""

    name: str
    bin: int
    failed: int
    trials: int


def effects(evidence: Evidence) -> tuple[Effect, ...]:
    """The effects that stand out from chance as of the last step of the evidence, strongest first."""
    return evidence.cached_per_step(_effects)


def risks(evidence: Evidence) -> tuple[Risk, ...]:
    """The bins that are blamed for failures, worst first.

    What one bin explains is not blamed on another: its trials are left out of the search for the next one.
    """
    newest, found = evidence.newest, []
    while (worst := _worst(evidence.axes, newest)) is not None:
        found.append(worst)
        column, axis = next((i, a) for i, a in enumerate(evidence.axes.all) if a.name == worst.name)
        newest = newest.only(~in_bin(axis, newest.places[:, column], worst.bin))
    return tuple(found)


def gaps(axes: Axes, places: Array) -> dict[str, list[int]]:
    """The bins without any of the tried `places` (a row each), by the name of their axis.

    An axis of which all is tried has none, and neither has one of which nothing is.
    """
    found = {}
    for column, axis in enumerate(axes.all):
        tried = bin_counts(axis, places[:, column])
        untried = [index for index, occupied in enumerate(occupied_bins(axis)) if occupied and not tried[index]]
        if any(tried) and untried:
            found[axis.name] = untried
    return found


def bin_counts(axis: Axis, places: Array) -> list[int]:
    """How many of the places are in each bin of an axis."""
    known = places[np.isfinite(places)]
    return [int(count) for count in np.bincount(_bins(axis, known).astype(int), minlength=axis.bins)]


def in_bin(axis: Axis, places: Array, index: int) -> npt.NDArray[np.bool_]:
    """Which of the places are in a bin."""
    return np.asarray(np.floor(_bins(axis, places)) == index)


def occupied_bins(axis: Axis) -> npt.NDArray[np.bool_]:
    """Which bins hold any value of the axis: whole numbers on a log scale leave some of them empty."""
    return np.array(bin_counts(axis, np.array(axis.grid)), dtype=bool) if axis.grid else np.ones(axis.bins, dtype=bool)


def _bins(axis: Axis, places: Array) -> Array:
    return places if axis.choices else np.minimum(axis.bins - 1, places * axis.bins)


def _worst(axes: Axes, newest: TrialWindow) -> Risk | None:
    failed, found = newest.failed, []
    if int(failed.sum()) < MIN_FAILURES:
        return None
    for column, axis in enumerate(axes.all):
        places = newest.places[:, column]
        bad, tried = bin_counts(axis, places[failed]), bin_counts(axis, places)
        for index, (failures, trials) in enumerate(zip(bad, tried, strict=True)):
            others, elsewhere = sum(bad) - failures, sum(tried) - trials
            usual = others / elsewhere if elsewhere else 1.0
            blamed = max(MIN_FAILURE_SHARE, MIN_FAILURE_RATIO * usual)
            if failures >= MIN_FAILURES and failures / trials >= blamed:
                found.append(Risk(name=axis.name, bin=index, failed=failures, trials=trials))
    return max(found, key=lambda risk: (risk.failed / risk.trials, risk.failed), default=None)


def _effects(evidence: Evidence, newest: TrialWindow) -> tuple[Effect, ...]:
    columns = enumerate(evidence.axes.all)
    found = [_effect(axis, newest.places[:, column], newest.losses) for column, axis in columns]
    return tuple(sorted((effect for effect in found if effect), key=lambda effect: -effect.strength))


def _effect(axis: Axis, places: Array, losses: Array) -> Effect | None:
    both = np.isfinite(places) & ~np.isnan(losses)
    count = int(both.sum())
    if count < MIN_TRIALS_OF_EFFECT:
        return None
    known, loss_ranks = places[both], ranks(losses[both])
    if axis.choices:
        return _effect_of_choices(axis, known.astype(int), loss_ranks)
    rho = _correlation(ranks(known), loss_ranks)
    if abs(rho) * np.sqrt(count - 1) < CORRELATION_ERRORS:
        return None
    return Effect(name=axis.name, strength=abs(rho), best="low" if rho > 0 else "high", trials=count)


def _effect_of_choices(axis: Axis, choices: npt.NDArray[np.int_], loss_ranks: Array) -> Effect | None:
    count, mean = len(loss_ranks), loss_ranks.mean()
    tried = np.unique(choices)
    means = np.array([loss_ranks[choices == index].mean() for index in tried])
    sizes = np.array([(choices == index).sum() for index in tried])
    total = float(((loss_ranks - mean) ** 2).sum())
    if len(tried) < 2 or count <= len(tried) or total == 0:
        return None
    ratio = float((sizes * (means - mean) ** 2).sum()) / total
    chance = (len(tried) - 1) / (count - 1)
    adjusted = (ratio - chance) / (1 - chance)
    if adjusted <= 0 or ratio * (count - 1) < _surprising(len(tried) - 1):
        return None
    return Effect(name=axis.name, strength=adjusted**0.5, best=int(tried[means.argmin()]), trials=count)


def _surprising(freedom: int) -> float:
    """What a chi-squared variable exceeds one time in twenty (Wilson and Hilferty, 1931)."""
    variance = 2 / (9 * freedom)
    return float(freedom * (1 - variance + CHI_SQUARED_ERRORS * variance**0.5) ** 3)


def _correlation(one: Array, other: Array) -> float:
    """Pearson's; 0 where one of the two does not vary."""
    first, second = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else 0.0
