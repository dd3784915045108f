"""From a role to an offer: a few new candidates, best first, and the region that they lie in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...engine.records import Share
from ..provenance import COMBINE, REFINE
from ..space.axes import Array, Region
from ..view.duplicates import TOLERANCE
from ..view.evidence import Best
from .acquisition import MIN_COMPLETE, acquisition_values
from .candidates import Rng, around, at_risk, crossed, least_tried, on_grid, uniform, without_inactive
from .findings import Risk
from .strategy import Situation

# Candidates that the model is shown, and about how many values in all of them: what a small model can weigh, and a
# table that leaves the prompt to the history.
MAX_OFFERED: Final = 5
MAX_OFFERED_VALUES: Final = 60

# How many candidates are drawn: the more, the better the few that are offered. Fewer where each is compared with many
# trials, so that candidates times trials, and with them the CPU of a proposal, stay about the same.
MIN_DRAWN: Final = 96
MAX_DRAWN: Final = 256
COMPARISONS: Final = 4_600

# Configurations, finished or in flight, before the first refining ask. With tens of trials in all, a larger design
# would cost too many of them; a space of few parameters is covered by one more than it has.
DESIGN_SIZE: Final = 4

# Candidates drawn while nothing is known. The farthest from all others comes first, and the farthest of many would
# always be a corner.
DESIGN_DRAWN: Final = 6

# Parameters that a refining ask varies, or a third of them if those are more: with all of them at once no candidate
# stays near a good trial in many dimensions.
MIN_VARIED: Final = 3

# Best trials from which refining asks in flight start in turns, so that a batch does not depend on one of them.
REFINED_TRIALS: Final = 3

# Best trials that a combining ask crosses: further ones have little to give to the best.
PARENTS: Final = 4

# Share of some axis by which candidates of one ask differ, unless they differ in a choice: closer ones are one offer
# to the model, although the study would tell them apart.
MIN_DIFFERENCE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Candidates for one ask, best first, and the trial that they start from.

    `menu` holds the values of each parameter in the candidates, in their order, and `constants` those of the parameters
    that have one value in all of them. `places` has a row for each candidate. The parameters in `inactive` do not count
    in any of them.
    """

    candidates: tuple[Mapping[str, Any], ...]
    menu: Mapping[str, Sequence[Any]]
    constants: Mapping[str, Any]
    region: Region
    places: Array
    base: Best | None = None
    inactive: tuple[str, ...] = ()


def offer_for(role: str, situation: Situation, risks: Sequence[Risk]) -> Offer | None:
    """The offer of a role; None where nothing new is left. Candidates in parts where trials fail come last."""
    evidence = situation.evidence
    axes = evidence.axes
    base = _base(role, situation)
    drawn = _draw(role, situation, risks, base)
    for column, axis in enumerate(axes.all):
        if axis.name in situation.fixed:
            drawn[:, column] = axis.place(situation.fixed[axis.name])
    drawn = without_inactive(axes, on_grid(axes, drawn), situation.newest.places)
    ordered = drawn[np.lexsort((-acquisition_values(situation, drawn), at_risk(axes, drawn, risks)))]
    for part in (_of_process(ordered, situation.share), ordered):
        places = _best_new(situation, part)
        if len(places):
            return _offer(situation, places, base)
    return None


def is_new(candidate: Array, taken: Array, within: float = TOLERANCE) -> bool:
    """Whether a candidate differs from each row of `taken` by more than `within`, on some axis that both have.

    Each row must have a place on some axis.
    """
    return bool((np.abs(taken - candidate) > within).any(axis=1).all())


def _base(role: str, situation: Situation) -> Best | None:
    if role not in (REFINE, COMBINE):
        return None
    best = situation.evidence.best(REFINED_TRIALS if role == REFINE else 1)
    return best[len(situation.open) % len(best)]


def _draw(role: str, situation: Situation, risks: Sequence[Risk], base: Best | None) -> Array:
    evidence, axes = situation.evidence, situation.evidence.axes
    rng = np.random.default_rng([situation.seed, situation.ordinal])
    count = min(MAX_DRAWN, max(MIN_DRAWN, COMPARISONS // max(1, evidence.known)))
    if role == COMBINE:
        return crossed(np.array([best.places for best in evidence.best(PARENTS)]), rng, count)
    if base is not None:
        return around(axes, np.array(base.places), _varied(situation, base, rng), evidence.trust.length, rng, count)
    if evidence.complete < MIN_COMPLETE or situation.ordinal < DESIGN_SIZE:
        return least_tried(axes, situation.taken, risks, rng, DESIGN_DRAWN * situation.share.processes)
    return uniform(axes, rng, count)


def _varied(situation: Situation, base: Best, rng: Rng) -> Sequence[int]:
    """Draw the columns of the parameters to change, among those that are asked for and that `base` has."""
    names, axes = situation.space.distributions, situation.evidence.axes.all
    columns = [i for i, axis in enumerate(axes) if axis.name in names and not math.isnan(base.places[i])]
    count = min(len(columns), max(MIN_VARIED, len(columns) // 3))
    return [columns[index] for index in rng.permutation(len(columns))[:count]]


def _of_process(candidates: Array, share: Share) -> Array:
    """Every n-th distinct candidate, so that n processes in the same situation offer different ones."""
    if share.processes == 1:
        return candidates
    distinct = list({candidate.tobytes(): candidate for candidate in candidates}.values())
    return np.array(distinct[share.place :: share.processes]).reshape(-1, candidates.shape[1])


def _best_new(situation: Situation, ordered: Array) -> Array:
    """The first candidates that are new, that no open ask offers, and that differ from each other."""
    first = ordered[:1]
    varied = int(((ordered != first) & ~(np.isnan(ordered) & np.isnan(first))).any(axis=0).sum())
    count = max(2, min(MAX_OFFERED, MAX_OFFERED_VALUES // max(1, varied)))
    taken = np.concatenate([situation.taken, situation.offered])
    taken = taken[~np.isnan(taken).all(axis=1)]
    chosen: list[Array] = []
    for candidate in ordered:
        if len(chosen) == count:
            break
        if is_new(candidate, taken) and (not chosen or is_new(candidate, np.array(chosen), within=MIN_DIFFERENCE)):
            chosen.append(candidate)
    return np.array(chosen)


def _offer(situation: Situation, places: Array, base: Best | None) -> Offer:
    """Translate rows of places into values of the space.

    An answer must have all parameters. So a parameter that is inactive in some candidates has there the value of
    another candidate; one that is inactive in all of them is left out.
    """
    columns: dict[str, list[Any]] = {}
    inactive = []
    for axis, column in zip(situation.evidence.axes.all, places.T.tolist(), strict=True):
        if axis.name not in situation.space.distributions:
            continue
        values = axis.values(dict.fromkeys(column))
        if values:
            first = next(iter(values.values()))
            columns[axis.name] = [values.get(place, first) for place in column]
        else:
            inactive.append(axis.name)
    # Each value once, told apart by type as well: two places may be written alike.
    menu = {name: list({(type(v), repr(v)): v for v in column}.values()) for name, column in columns.items()}
    return Offer(
        candidates=tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)),
        menu=menu,
        constants={name: values[0] for name, values in menu.items() if len(values) == 1},
        region=situation.evidence.axes.spanned(menu),
        places=places,
        base=base,
        inactive=tuple(inactive),
    )
