"""Which role an ask has: by how much is known, what is in flight, and how the study goes."""

from typing import Final

from ..roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .strategy import Situation

# Configurations, finished or in flight, before the first refining ask. With tens of trials in all, a larger design
# would cost too many of them; a space of few parameters is covered by one more than it has.
DESIGN_SIZE: Final = 4

# Complete trials without an improvement after which some asks combine the best trials: with all roles in turn, two
# or three refining asks have failed by then.
COMBINE_AFTER: Final = 6

# While nothing improves, one ask in so many combines: the others must go on to bring new values to combine.
COMBINE_EVERY: Final = 6


def role_of(situation: Situation, explore_share: float = 0.5) -> str:
    """The role of this ask; `explore_share` is the share of asks that look away from the best trials."""
    evidence, ordinal = situation.evidence, situation.ordinal
    if not situation.proposed and evidence.complete < DESIGN_SIZE:
        return FIRST_GUESS
    if not evidence.complete or ordinal < min(DESIGN_SIZE, len(evidence.axes) + 1):
        return EXPLORE
    if evidence.since_improvement >= COMBINE_AFTER and ordinal % COMBINE_EVERY == 0:
        return COMBINE
    return EXPLORE if low_discrepancy(ordinal) >= 1 - explore_share else REFINE


def low_discrepancy(ordinal: int) -> float:
    """The van der Corput sequence (1935) in base 2: a number in [0, 1), far from those of the next ordinals."""
    bits = f"{ordinal:b}"[::-1]
    return int(bits, 2) / (1 << len(bits))
