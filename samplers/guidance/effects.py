"""How much each parameter moves the value, by rank: Spearman's correlation, for choices the correlation ratio of ranks.

Spearman (1904); the correlation ratio is Fisher's, made fair to many choices by what chance alone would give (Kelley's
adjustment, 1935). Ranks make both deaf to the scale of the values.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..space.arrays import Array, ranks
from ..space.axes import Axis
from ..view.evidence import Evidence, TrialWindow

FEWEST = 6
"""Complete trials below which a correlation is noise."""

CERTAIN = 1.96
"""Standard errors that an effect must be away from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """`strength` is from 0 to 1; `best` says where losses are low: "low", "high", or the index of a choice."""

    name: str
    strength: float
    best: str | int
    trials: int


def effects(evidence: Evidence) -> tuple[Effect, ...]:
    """The effects that stand out from chance as of the last step, strongest first."""
    return evidence.cached_per_step(_effects)


def _effects(evidence: Evidence, newest: TrialWindow) -> tuple[Effect, ...]:
    found = [
        effect
        for column, axis in enumerate(evidence.axes.all)
        if (effect := _effect(axis, newest.places[:, column], newest.losses)) is not None
    ]
    return tuple(sorted(found, key=lambda effect: -effect.strength))


def _effect(axis: Axis, places: Array, losses: Array) -> Effect | None:
    both = np.isfinite(places) & ~np.isnan(losses)
    count = int(both.sum())
    if count < FEWEST:
        return None
    where, how_bad = places[both], ranks(losses[both])
    if axis.categorical:
        return _of_choices(axis, where.astype(int), how_bad)
    rho = correlation(ranks(where), how_bad)
    if abs(rho) * np.sqrt(count - 1) < CERTAIN:
        return None
    return Effect(name=axis.name, strength=abs(rho), best="low" if rho > 0 else "high", trials=count)


def _of_choices(axis: Axis, where: npt.NDArray[np.int_], how_bad: Array) -> Effect | None:
    count = len(how_bad)
    met = np.unique(where)
    means = np.array([how_bad[where == index].mean() for index in met])
    sizes = np.array([(where == index).sum() for index in met])
    total = float(((how_bad - how_bad.mean()) ** 2).sum())
    if len(met) < 2 or count <= len(met) or total == 0:
        return None
    ratio = float((sizes * (means - how_bad.mean()) ** 2).sum()) / total
    chance = (len(met) - 1) / (count - 1)
    adjusted = (ratio - chance) / (1 - chance) if chance < 1 else 0.0
    if adjusted <= 0 or ratio * (count - 1) < _surprising(len(met) - 1):
        return None
    return Effect(name=axis.name, strength=adjusted**0.5, best=int(met[means.argmin()]), trials=count)


def _surprising(freedom: int) -> float:
    """What a chi-squared variable exceeds one time in twenty (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 1.645 * spread**0.5) ** 3)


def correlation(one: Array, other: Array) -> float:
    """Pearson's, 0 where one of the two does not vary."""
    first, second = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else 0.0
