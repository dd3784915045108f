"""Which role an ask has: by how much is known, what is in flight, and how the study goes."""

from typing import Final

from ..roles import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .strategy import Situation

DESIGN: Final = 4
"""Configurations, finished or on their way, before the first refining ask; fewer in small spaces."""

STAGNANT: Final = 6
"""Complete trials without an improvement after which some asks combine the best trials."""

COMBINING: Final = 6
"""One ask in so many, then."""


def role_of(situation: Situation, exploring: float = 0.5) -> str:
    """The role of this ask; `exploring` is the share of asks that look away from the best trials."""
    evidence, ordinal = situation.evidence, situation.ordinal
    if not situation.proposed and evidence.complete < DESIGN:
        return FIRST_GUESS
    if not evidence.complete or ordinal < min(DESIGN, len(evidence.axes) + 1):
        return EXPLORE
    if evidence.since_improvement >= STAGNANT and ordinal % COMBINING == 0:
        return COMBINE
    return EXPLORE if spread(ordinal) >= 1 - exploring else REFINE


def spread(ordinal: int) -> float:
    """A number in [0, 1) for each ordinal, those of any few in a row far apart (van der Corput, 1935)."""
    bits = f"{ordinal:b}"[::-1]
    return int(bits, 2) / (1 << len(bits))
