"""The strategy of menus: the role of an ask, and the candidates that it offers."""

from typing import Final

from ..provenance import COMBINE, EXPLORE, FIRST_GUESS, REFINE
from .facts import facts
from .offer import DESIGN_SIZE, offer_for
from .strategy import Guidance, Situation, undisturbed

# Complete trials without an improvement after which some asks combine the best trials: with all roles in turn, two
# or three refining asks have failed by then.
COMBINE_AFTER: Final = 6

# While nothing improves, one ask in so many combines: the others must go on to bring new values to combine.
COMBINE_EVERY: Final = 6


class Menu:
    """Offers whole candidates for a role by the study's progress; an ask is free where nothing new is left."""

    name: Final = "menu"

    @undisturbed
    def guide(self, situation: Situation) -> Guidance:
        """Candidates of this ask's role, or of exploring where that role has none; the first guess is free."""
        return menu_for(situation, role_of(situation), self.name)


def menu_for(situation: Situation, role: str, strategy: str) -> Guidance:
    """The candidates of a role, as one strategy's guidance."""
    known = facts(situation)
    if role == FIRST_GUESS:
        return Guidance(strategy=strategy, role=role, summary=known)
    offer = offer_for(role, situation)
    if not offer.candidates and role != EXPLORE:
        return menu_for(situation, EXPLORE, strategy)
    return Guidance(strategy=strategy, role=role, summary=known, candidates=offer.candidates, expected=offer.expected)


def role_of(situation: Situation) -> str:
    """The role of this ask: a design at first, then as many asks that explore as asks that refine."""
    evidence, ordinal = situation.evidence, situation.ordinal
    if not situation.proposed and evidence.complete < DESIGN_SIZE:
        return FIRST_GUESS
    if not evidence.complete or ordinal < min(DESIGN_SIZE, len(evidence.axes) + 1):
        return EXPLORE
    if evidence.since_improvement >= COMBINE_AFTER and ordinal % COMBINE_EVERY == 0:
        return COMBINE
    return EXPLORE if ordinal % 2 else REFINE
