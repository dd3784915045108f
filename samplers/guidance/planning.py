"""Which role an ask has: by how much is known, what is in flight, and how the study goes."""

from .roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .strategy import Situation

DESIGN = 5
"""Configurations, finished or on their way, before the first refining ask; fewer in small spaces."""

CYCLE = 4
LONG_CYCLE = 6
"""Every so many asks one explores: fewer while refining pays, more when nothing does."""

STAGNANT = 6


def role_of(situation: Situation) -> str:
    """The role of this ask, for strategies that give all of them."""
    evidence, ordinal = situation.evidence, situation.ordinal
    if ordinal == 0:
        return FIRST_GUESS
    if not evidence.complete or ordinal < min(DESIGN, len(evidence.axes) + 1):
        return EXPLORE
    cycle = LONG_CYCLE if evidence.since_improvement == 0 else CYCLE
    if evidence.since_improvement >= STAGNANT:
        cycle = CYCLE - 1
    step = ordinal % cycle
    if step == cycle - 1:
        return EXPLORE
    if step == 1 and evidence.complete >= DESIGN and not situation.open:  # it is the same for all that are open
        return COMBINE
    return REFINE
