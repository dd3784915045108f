"""`"adaptive"`: menus or words, by what this model has shown in this study."""

from typing import Final

from .evidence import Score
from .forms import Form, formed
from .planning import role_of
from .roles import COMBINE, REFINE
from .strategy import Guidance, Situation

PROBE_EVERY = 5
"""One refining ask in so many takes the form that is not preferred, so that both keep being measured."""

ENOUGH = 3
"""Asks of a form before it can be preferred."""

OBEDIENT = 0.7
"""Share of a region's parameters that answers in words must stay in."""


class Adaptive:
    """Begins with menus, and goes over to words where they improve the best trial more often and are obeyed."""

    name: Final = "adaptive"

    def guide(self, situation: Situation) -> Guidance:
        """A role by the study's progress, in the form that has paid."""
        role = role_of(situation)
        return formed(self.name, situation, role, form_of(situation, role))


def form_of(situation: Situation, role: str) -> Form:
    """The better form so far; in some refining asks the other one."""
    probing = role in (REFINE, COMBINE) and situation.ordinal % PROBE_EVERY == PROBE_EVERY - 1
    return "words" if prefers_words(situation.evidence.scores) != probing else "menu"


def prefers_words(scores: dict[str, Score]) -> bool:
    """Whether words are obeyed, and improve the best trial more often than menus (Laplace's rule of succession)."""
    words, menu = scores.get("words", Score()), scores.get("menu", Score())
    if words.asks < ENOUGH or words.inside < OBEDIENT * words.asks:
        return False
    return rate(words) > rate(menu)


def rate(score: Score) -> float:
    """The estimated chance that an ask of this form improves the best trial."""
    return (score.improved + 1) / (score.asks + 2)
