"""From a role to a few promising configurations, and the region that they lie in."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...engine.records import Share
from ..roles import COMBINE, REFINE
from ..space.arrays import Array
from ..space.axes import Axes, Region
from ..view.duplicates import TOLERANCE
from ..view.evidence import Best
from .acquisition import FEWEST, promise
from .coverage import in_bin
from .failures import Risk
from .planning import DESIGN
from .pools import Rng, anywhere, around, crossed, on_grid, untried, without_idle
from .strategy import Situation

OFFERED: Final = 5
"""Candidates that the model is shown, if they are not too long."""

VALUES: Final = 60
"""Values in all candidates of an ask, about."""

POOL: Final = range(96, 256)
"""How many candidates are looked at: the more, the better the few that are offered; fewer where each costs more."""

WORK: Final = 4_600
"""Candidates times trials learned from, about."""

FEW: Final = 6
"""Candidates while nothing is known, the farthest from all others first: the first of many would all be corners."""

VARIED: Final = 3
"""How many parameters a refining ask varies, about; the others keep the value of the trial that it starts from."""

CENTERS: Final = 3
"""Refining asks that are in flight together start from this many best trials, in turns."""

PARENTS: Final = 4
"""A combining ask crosses so many best trials."""

ALIKE: Final = 0.02
"""Candidates of one ask differ by more than that share of some axis, or by a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Candidates for one ask, the most promising first, and the trial that they start from.

    `menu` holds the values of each parameter that the candidates say something about, in their order, and `places` has
    a row for each candidate. The parameters in `idle` do not count in any of them.
    """

    candidates: tuple[Mapping[str, Any], ...]
    menu: Mapping[str, Sequence[Any]]
    region: Region
    places: Array
    base: Best | None = None
    idle: tuple[str, ...] = ()

    @property
    def kept(self) -> dict[str, Any]:
        """The parameters that have one value in all candidates."""
        return {name: values[0] for name, values in self.menu.items() if len(values) == 1}


def plan(role: str, situation: Situation, risks: Sequence[Risk]) -> Plan | None:
    """The candidates of a role; None where there is nothing new to offer."""
    evidence = situation.evidence
    rng = np.random.default_rng([situation.seed, situation.ordinal])
    base = _base(role, situation)
    pool = _pool(role, situation, risks, base, rng)
    for column, axis in enumerate(evidence.axes.all):
        if axis.name in situation.fixed:
            pool[:, column] = axis.place(situation.fixed[axis.name])
    pool = without_idle(evidence.axes, on_grid(evidence.axes, pool), evidence.newest.places)
    ordered = pool[np.lexsort((-promise(situation, pool), risky(evidence.axes, pool, risks)))]
    for part in (_own(ordered, situation.share), ordered):
        places = _offered(situation, part)
        if len(places):
            return _plan(situation, places, base)
    return None


def risky(axes: Axes, places: Array, risks: Sequence[Risk]) -> npt.NDArray[np.bool_]:
    """Which candidates are in a part of an axis where trials fail: they come last."""
    found = np.zeros(len(places), dtype=bool)
    for column, axis in enumerate(axes.all):
        for risk in risks:
            if risk.name == axis.name:
                found |= in_bin(axis, places[:, column], risk.bin)
    return found


def _own(candidates: Array, share: Share) -> Array:
    """Those that are ours where several processes draw the same ones, each in the very same situation."""
    if share.processes == 1:
        return candidates
    distinct = list({candidate.tobytes(): candidate for candidate in candidates}.values())
    return np.array(distinct[share.place :: share.processes]).reshape(-1, candidates.shape[1])


def _plan(situation: Situation, places: Array, base: Best | None) -> Plan:
    """The rows of places in words of the space.

    An answer has all parameters, so one that is idle in some candidates has there the value of another candidate, and
    one that is idle in all of them is left out.
    """
    columns: dict[str, list[Any]] = {}
    idle = []
    region = {}
    for axis, column in zip(situation.evidence.axes.all, places.T.tolist(), strict=True):
        if axis.name not in situation.space.distributions:
            continue
        known = {place: axis.value(place) for place in dict.fromkeys(column) if not math.isnan(place)}
        if not known:
            idle.append(axis.name)
            continue
        first = next(iter(known.values()))
        columns[axis.name] = [known.get(place, first) for place in column]
        region[axis.name] = axis.part(_unique(known.values()))
    candidates = tuple({name: column[row] for name, column in columns.items()} for row in range(len(places)))
    menu = {name: _unique(column) for name, column in columns.items()}
    return Plan(candidates=candidates, menu=menu, region=region, places=places, base=base, idle=tuple(idle))


def _unique(values: Iterable[Any]) -> list[Any]:
    """Each value once, to the type: two places may be written alike."""
    return list({(type(value), repr(value)): value for value in values}.values())


def _base(role: str, situation: Situation) -> Best | None:
    if role not in (REFINE, COMBINE):
        return None
    best = situation.evidence.best(CENTERS if role == REFINE else 1)
    return best[len(situation.open) % len(best)]


def _pool(role: str, situation: Situation, risks: Sequence[Risk], base: Best | None, rng: Rng) -> Array:
    evidence, axes = situation.evidence, situation.evidence.axes
    count = min(POOL.stop, max(POOL.start, WORK // max(1, evidence.known)))
    if role == COMBINE:
        return crossed(np.array([best.places for best in evidence.best(PARENTS)]), rng, count)
    if base is not None:
        return around(axes, np.array(base.places), _varied(situation, base, rng), evidence.trust.length, rng, count)
    if evidence.complete < FEWEST or situation.ordinal < DESIGN:
        return untried(axes, situation.taken, risks, rng, FEW * situation.share.processes)
    return anywhere(axes, rng, count)


def _varied(situation: Situation, base: Best, rng: Rng) -> Sequence[int]:
    """The columns of the parameters to change, drawn; all those that are asked for if they are few."""
    names = situation.space.distributions
    columns = [
        i for i, a in enumerate(situation.evidence.axes.all) if a.name in names and not math.isnan(base.places[i])
    ]
    count = min(len(columns), max(VARIED, len(columns) // 3))
    return [columns[index] for index in rng.permutation(len(columns))[:count]]


def _offered(situation: Situation, ordered: Array) -> Array:
    """The first candidates that are new, and not offered by another ask, none twice."""
    first = ordered[:1]
    varied = int(((ordered != first) & ~(np.isnan(ordered) & np.isnan(first))).any(axis=0).sum())
    count = max(2, min(OFFERED, VALUES // max(1, varied)))
    taken = np.concatenate([situation.taken, situation.offered])
    taken = taken[~np.isnan(taken).all(axis=1)]
    found: list[Array] = []
    for candidate in ordered:
        if len(found) == count:
            break
        if is_new(candidate, taken) and (not found or is_new(candidate, np.array(found), within=ALIKE)):
            found.append(candidate)
    return np.array(found)


def is_new(candidate: Array, taken: Array, within: float = TOLERANCE) -> bool:
    """Whether a configuration differs from each row of `taken` by more than `within`, on some axis that both have.

    Each row has a place on some axis.
    """
    return bool((np.abs(taken - candidate) > within).any(axis=1).all())
