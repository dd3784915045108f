"""`"adaptive"`: the form and the mix of roles follow what has improved this study so far."""

from typing import Final, Literal

from ..roles import EXPLORE, REFINE
from ..view.progress import Score
from .forms import formed
from .planning import role_of
from .strategy import Guidance, Situation

PROBE_EVERY: Final = 5
"""One ask in so many takes the form that is not preferred, so that both keep being measured."""

RARELY: Final = 21
"""The same for words that were not obeyed, or that led to repetitions; odd, so that all roles are probed."""

ENOUGH: Final = 3
"""Asks of a form before it is judged."""

SOME: Final = 0.5
"""Improvements without which words do not become the rule: menus that failed more often were tried more often."""

OBEDIENT: Final = 0.7
"""Share of a region's parameters that answers in words must stay in."""

STUMBLING: Final = 0.4
"""Share of answers in words that may need a second call: they repeat what is known, or are invalid."""

PRIOR: Final = 4
"""Asks that count as made without success before the first one of a kind."""

NARROWEST: Final = 0.25
"""Share of exploring and of refining asks that is kept, whatever has paid so far."""


class Adaptive:
    """Begins with menus and as much exploring as refining; goes on with more of what has improved the best trial."""

    name: Final = "adaptive"

    def guide(self, situation: Situation) -> Guidance:
        """A role and a form by the study's own record."""
        evidence = situation.evidence
        role = role_of(situation, exploring(evidence.score(role=EXPLORE), evidence.score(role=REFINE)))
        return formed(self.name, situation, role, form_of(situation))


def exploring(explored: Score, refined: Score) -> float:
    """The share of exploring asks, in proportion to how often each of the two kinds has improved the best trial."""
    one, other = rate(explored), rate(refined)
    return min(1 - NARROWEST, max(NARROWEST, one / (one + other)))


def form_of(situation: Situation) -> Literal["words", "menu"]:
    """The better form so far; in some asks the other one."""
    words, menu = (situation.evidence.score(form=form) for form in ("words", "menu"))
    able = follows(words)
    every = PROBE_EVERY if able else RARELY
    probing = situation.ordinal % every == every - 1
    preferred = able and words.asks >= ENOUGH and words.improved >= SOME and rate(words) > rate(menu)
    return "words" if preferred != probing else "menu"


def follows(words: Score) -> bool:
    """Whether the model stays in regions that it is given in words, and finds something new there; yes until seen."""
    if words.asks < ENOUGH:
        return True
    return words.inside >= OBEDIENT * words.asks and words.stumbled <= STUMBLING * words.asks


def rate(score: Score) -> float:
    """The estimated chance that an ask of this kind improves the best trial."""
    return (score.improved + 1) / (score.asks + PRIOR)
