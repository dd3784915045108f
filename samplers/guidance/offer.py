"""From a role to an offer: a few new candidates, best first, and what is expected of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ...engine.records import Params, Share
from ..provenance import COMBINE, REFINE
from ..space.axes import Array
from ..view.duplicates import TOLERANCE
from ..view.evidence import Best
from .acquisition import MIN_COMPLETE, outlook_of
from .candidates import Rng, around, crossed, least_tried, on_grid, uniform, without_inactive
from .strategy import Situation

Rows: TypeAlias = npt.NDArray[np.int_]  # indices of candidates

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
    """Whole candidates for one ask, best first, with the value that is expected of each; without any, all is known.

    A parameter that a candidate lacks does not count in it. Nothing is expected before there are values.
    """

    candidates: tuple[Params, ...] = ()
    expected: tuple[float, ...] = ()


def offer_for(role: str, situation: Situation) -> Offer:
    """The offer of a role: candidates that are new to the study, that no open ask offers, and that differ."""
    evidence = situation.evidence
    axes = evidence.axes
    drawn = _draw(role, situation, _base(role, situation))
    for column, axis in enumerate(axes.all):
        if axis.name in situation.fixed:
            drawn[:, column] = axis.place(situation.fixed[axis.name])
    drawn = without_inactive(axes, on_grid(axes, drawn), situation.newest.places)
    outlook = outlook_of(situation, drawn)
    ordered = np.argsort(-outlook.worth, kind="stable")
    for part in (_of_process(drawn, ordered, situation.share), ordered):
        chosen = _best_new(situation, drawn, part)
        if chosen:
            expected = () if outlook.values is None else outlook.values[list(chosen)].tolist()
            return Offer(candidates=tuple(chosen.values()), expected=tuple(expected))
    return Offer()


def is_new(candidate: Array, taken: Array, within: float = TOLERANCE) -> bool:
    """Whether a candidate differs from each row of `taken` by more than `within`, on some axis that both have.

    Each row must have a place on some axis.
    """
    same = taken
    for axis, place in enumerate(candidate.tolist()):  # one axis leaves few of the thousands that open asks may offer
        same = same[~(np.abs(same[:, axis] - place) > within)]
        if not len(same):
            break
    return not len(same)


def _base(role: str, situation: Situation) -> Best | None:
    if role not in (REFINE, COMBINE):
        return None
    best = situation.evidence.best(REFINED_TRIALS if role == REFINE else 1)
    return best[len(situation.open) % len(best)]


def _draw(role: str, situation: Situation, base: Best | None) -> Array:
    evidence, axes = situation.evidence, situation.evidence.axes
    rng = np.random.default_rng([situation.seed, situation.ordinal])
    count = min(MAX_DRAWN, max(MIN_DRAWN, COMPARISONS // max(1, evidence.known)))
    if role == COMBINE:
        return crossed(np.array([best.places for best in evidence.best(PARENTS)]), rng, count)
    if base is not None:
        return around(axes, np.array(base.places), _varied(situation, base, rng), evidence.trust.length, rng, count)
    if evidence.complete < MIN_COMPLETE or situation.ordinal < DESIGN_SIZE:
        return least_tried(axes, situation.taken, rng, DESIGN_DRAWN * situation.share.processes)
    return uniform(axes, rng, count)


def _varied(situation: Situation, base: Best, rng: Rng) -> Sequence[int]:
    """Draw the columns of the parameters to change, among those that are asked for and that `base` has."""
    names, axes = situation.space.distributions, situation.evidence.axes.all
    columns = [i for i, axis in enumerate(axes) if axis.name in names and not math.isnan(base.places[i])]
    count = min(len(columns), max(MIN_VARIED, len(columns) // 3))
    return [columns[index] for index in rng.permutation(len(columns))[:count]]


def _of_process(candidates: Array, ordered: Rows, share: Share) -> Rows:
    """Every n-th distinct candidate, so that n processes in the same situation offer different ones."""
    if share.processes == 1:
        return ordered
    distinct = list({candidates[row].tobytes(): row for row in reversed(ordered.tolist())}.values())[::-1]
    return np.array(distinct[share.place :: share.processes], dtype=int)


def _best_new(situation: Situation, candidates: Array, ordered: Rows) -> dict[int, Params]:
    """The first candidates that are new, that no open ask offers, and that differ from each other, by their rows."""
    varied = int((np.ptp(np.nan_to_num(candidates[ordered], nan=-1.0), axis=0) > 0).sum()) if len(ordered) else 0
    count = max(2, min(MAX_OFFERED, MAX_OFFERED_VALUES // max(1, varied)))
    offered, taken = (rows[~np.isnan(rows).all(axis=1)] for rows in (situation.offered, situation.taken))
    taken = np.concatenate([taken, offered])
    chosen: dict[int, Params] = {}
    for row in ordered.tolist():
        if len(chosen) == count:
            break
        candidate = candidates[row]
        if is_new(candidate, taken) and is_new(candidate, candidates[list(chosen)], within=MIN_DIFFERENCE):
            params = _params(situation, candidate)
            whole = {**situation.fixed, **params}
            # Values have few digits, and may be nearer to another's than the places from which they are written.
            if is_new(np.array(situation.evidence.axes.places(whole)), offered) and not situation.is_known(whole):
                chosen[row] = params
    return chosen


def _params(situation: Situation, candidate: Array) -> Params:
    """The values that stand at a candidate's places, of the parameters that are asked for."""
    wanted, places = situation.space.distributions, candidate.tolist()
    return {
        axis.name: axis.value(place)
        for axis, place in zip(situation.evidence.axes.all, places, strict=True)
        if axis.name in wanted and not math.isnan(place)
    }
