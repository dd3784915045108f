"""Whether this model needs menus: decided by this study's own record, anew on every ask.

The model speaks first. It is given menus once it repeats itself or cannot answer, or once its free proposals do worse
than what the surrogate would have taken, or than a menu that was tried; and it is left free again once it does better
in the asks that probe it.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from ..provenance import REFINE
from ..space.axes import Array
from ..view.evidence import Evidence, TrialWindow
from .acquisition import shortfall
from .facts import facts
from .menu import menu_for, role_of
from .strategy import Guidance, Situation, undisturbed

# Why an ask has a menu, or is free although the model needs menus: for whoever reads the trial.
STUMBLES: Final = "free asks repeated trials or took second calls"
FRUITLESS: Final = "no free trial is better than those given"
SHORTFALL: Final = "free trials are worse than the surrogate's would be"
MENUS_BETTER: Final = "menus did better than the last free asks"
TRY: Final = "to compare a menu with free asks"
PROBE: Final = "to see whether the model still needs menus"

# What an older free ask counts, beside the next one: the last three decide, so that a model that has learned is soon
# believed.
FADING: Final = 0.7

# Faded number, and share, of free asks that stumbled from which menus are given: the last one of up to four, or two of
# the last four. A strong model stumbles in none of a hundred (benchmarks/README.md), a weak one in every third.
MIN_STUMBLED: Final = 1.0
MIN_STUMBLED_SHARE: Final = 0.37

# Free trials, for each trial that the model did not propose, after which it is not at work yet if none is better than
# the best of those; at most so many. Draws at random come to that in about one of three studies. Until there are as
# many as that, the model may decline its menus: few trials say little, and a weak model takes what it is offered.
FRUITLESS_PER_GIVEN: Final = 2
MAX_FRUITLESS: Final = 5

# Deviations of the responses by which free proposals may be worse than what the surrogate expects of its own, which is
# too hopeful by about half of that: with less, models that explore on their way are taken for ones that draw at random.
MAX_SHORTFALL: Final = 1.0

# Among the newest trials, menus are compared with as many of the last free ones.
COMPARED_TRIALS: Final = 24
COMPARED_FREE: Final = 3

# Chance that a menu's trial is better than a free one from which menus go on: among ties they do.
MIN_BETTER: Final = 0.5

# Among the trials compared, menus that improve nothing after which the model is left free again, if a free ask has
# improved something and a menu's chance to be better than any of the free ones is lower than this: a model that has
# found what is best tries bold things, and the last of these say little against it.
MAX_IDLE_MENUS: Final = 3
MIN_BETTER_WHILE_IDLE: Final = 0.6

# Of so many asks one tries a menu while the model is left free: the first that can be compared in any case, a later one
# if so many complete trials have improved nothing. One at a time, no more than eight asks go by until every model is
# compared with menus. The menu refines, which costs a strong one least.
TRY_EVERY: Final = 10
TRIED: Final = 7
TRY_AFTER: Final = 2

# Proposals that must be left after it, beside those that others are making: fewer do not make up for a worse trial.
LEFT_AFTER: Final = 4

# Every so many asks one is free all the same; twice as many after each free ask that failed, up to the longest.
PROBE_EVERY: Final = 5
PROBE_EVERY_AT_MOST: Final = 40


class Adaptive:
    """Leaves the model free until this study's record says that it needs menus, and again once it does not."""

    name: Final = "adaptive"

    @undisturbed
    def guide(self, situation: Situation) -> Guidance:
        """The facts alone, or the menu of a role, and why."""
        need = situation.evidence.cached(need_of)
        if need and situation.ordinal % probe_every(situation.newest):
            optional = need == FRUITLESS and int(situation.newest.free.sum()) < MAX_FRUITLESS
            return self._menu(situation, role_of(situation), need, optional=optional)
        if not need and tries_menu(situation):
            return self._menu(situation, REFINE, TRY, optional=True)
        return Guidance(strategy=self.name, summary=facts(situation), reason=PROBE if need else "")

    def _menu(self, situation: Situation, role: str, reason: str, *, optional: bool) -> Guidance:
        guidance = menu_for(situation, role, self.name)
        return replace(guidance, reason=reason, optional=optional) if guidance.candidates else guidance


def need_of(evidence: Evidence) -> str:
    """Why this model needs menus, if it does: free asks stumbled, or were worse than menus are, or would be."""
    newest = evidence.newest
    if stumbles(newest):
        return STUMBLES
    better = menus_better(newest)
    if better is not None:
        return MENUS_BETTER if better >= MIN_BETTER and not menus_idle(newest) else ""
    if fruitless(newest):
        return FRUITLESS
    return SHORTFALL if evidence.cached_per_step(shortfall) >= MAX_SHORTFALL else ""


def tries_menu(situation: Situation) -> bool:
    """Whether this ask tries what a menu would do: none was tried yet, or the last trials have improved nothing.

    Not where its result would come when little more is asked: a model that needs no menus would lose by it, and one
    that does would not gain.
    """
    if situation.ordinal % TRY_EVERY != TRIED or situation.evidence.complete < COMPARED_FREE:
        return False
    newest = situation.newest
    untried = not newest.menu.any() and np.count_nonzero(newest.free) >= COMPARED_FREE
    left, others = situation.proposals_left, len(situation.in_flight) + len(situation.open)
    in_time = left is None or left > LEFT_AFTER + others
    return in_time and bool(untried or situation.evidence.since_improvement >= TRY_AFTER)


def stumbles(newest: TrialWindow) -> bool:
    """Whether too many of the last free asks repeated a trial or took a second call."""
    flags = newest.stumbled[newest.free]
    weights = FADING ** np.arange(len(flags))[::-1]
    stumbled = float(weights @ flags)
    return stumbled >= MIN_STUMBLED and stumbled >= MIN_STUMBLED_SHARE * float(weights.sum())


def fruitless(newest: TrialWindow) -> bool:
    """Whether enough free trials are all no better than the best of those that the model did not propose.

    The first of a wave, which are proposed before there is any result, do not count.
    """
    free = _ranked(newest.losses[newest.free & (newest.seen > 0)])
    given = newest.losses[~newest.free & ~newest.menu]
    given = given[given < np.inf]  # of failed ones as well, NaN, nothing can be said
    enough = min(MAX_FRUITLESS, FRUITLESS_PER_GIVEN * len(given))
    return bool(len(given) and len(free) >= enough and free.min() >= given.min())


def menus_better(newest: TrialWindow) -> float | None:
    """The chance that a trial of a menu is better than one of the last free ones; None where there are too few."""
    recent = newest.only(slice(-COMPARED_TRIALS, None))
    free, menu = recent.losses[recent.free], recent.losses[recent.menu]
    return _chance(menu, free[-COMPARED_FREE:]) if len(free) >= COMPARED_FREE and len(menu) else None


def menus_idle(newest: TrialWindow) -> bool:
    """Whether several recent menus improved nothing, while a free ask did, and are hardly better than all free ones."""
    losses = _ranked(newest.losses)
    improves = losses < np.minimum.accumulate(np.append(np.inf, losses[:-1]))
    recent, improved = newest.only(slice(-COMPARED_TRIALS, None)), improves[-COMPARED_TRIALS:]
    if recent.menu.sum() < MAX_IDLE_MENUS or improved[recent.menu].any() or not improved[recent.free].any():
        return False
    return _chance(recent.losses[recent.menu], recent.losses[recent.free]) < MIN_BETTER_WHILE_IDLE


def probe_every(newest: TrialWindow) -> int:
    """How many asks there are to one that is free although the model needs menus.

    Free asks from before the first menu are no probes: what they cost is known, and what has been learned since is not.
    """
    if not newest.menu.any():
        return PROBE_EVERY
    menus = np.sort(_ranked(newest.losses[newest.menu])[-COMPARED_TRIALS:])
    probes = newest.only(slice(int(np.argmax(newest.menu)), None))
    bad = probes.stumbled[probes.free] | (_ranked(probes.losses[probes.free]) > menus[len(menus) // 2])
    failures = int(np.argmin(bad[::-1])) if not bad.all() else len(bad)
    return int(min(PROBE_EVERY_AT_MOST, PROBE_EVERY * 2 ** min(max(failures - 1, 0), 8)))


def _chance(menu: Array, free: Array) -> float:
    """The chance that one of the losses of menus is better than one of those of free asks; equal ones count half."""
    own, offered = _ranked(free)[:, None], _ranked(menu)
    return float(np.mean(own > offered) + np.mean(own == offered) / 2)


def _ranked(losses: Array) -> Array:
    """The losses, with trials that gave none as the worst."""
    return np.where(np.isnan(losses), np.inf, losses)
