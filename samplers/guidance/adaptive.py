"""`"adaptive"`: the form and the mix of roles follow what has improved this study so far."""

from typing import Final, Literal

from ..roles import EXPLORE, REFINE
from ..view.evidence import Score
from .roles import role_of
from .strategy import Guidance, Situation
from .words import guidance_in

# One ask in so many takes the other form, so that both keep being measured: a fifth of the asks is what that may cost.
PROBE_EVERY: Final = 5

# The same where words were not obeyed or led to repetitions, each of which costs a call. Odd, so that probes do not
# always meet the same half of the roles.
PROBE_EVERY_IF_UNABLE: Final = 21

# Asks of a form before it is judged: one or two failures are chance.
MIN_ASKS_JUDGED: Final = 3

# Faded improvements that words must have before they may replace menus. Without it words would win by the menus'
# failures alone, since menus are tried, and fail, more often.
MIN_IMPROVEMENTS: Final = 0.5

# Share of a region's parameters that answers in words must stay in; below it the region is not what steers them.
MIN_INSIDE: Final = 0.7

# Share of answers in words that may need a second call, because they repeat a trial or are invalid: each costs what
# another proposal would.
MAX_STUMBLED: Final = 0.4

# Asks without success that every kind is taken to have had, so that the first few results do not decide.
PRIOR_ASKS: Final = 4

# Share that exploring and refining asks keep whatever has paid so far, so that neither can die out by chance.
MIN_ROLE_SHARE: Final = 0.25


class Adaptive:
    """Begins with menus and as much exploring as refining; goes on with more of what has improved the best trial."""

    name: Final = "adaptive"

    def guide(self, situation: Situation) -> Guidance:
        """A role and a form by the study's own record."""
        evidence = situation.evidence
        share = explore_share(evidence.score(role=EXPLORE), evidence.score(role=REFINE))
        return guidance_in(preferred_form(situation), situation, role_of(situation, share), self.name)


def explore_share(explored: Score, refined: Score) -> float:
    """The share of exploring asks, in proportion to how often each of the two roles has improved the best trial."""
    exploring, refining = improvement_rate(explored), improvement_rate(refined)
    return min(1 - MIN_ROLE_SHARE, max(MIN_ROLE_SHARE, exploring / (exploring + refining)))


def preferred_form(situation: Situation) -> Literal["words", "menu"]:
    """The better form so far; the other one in the asks that probe it."""
    words, menu = (situation.evidence.score(form=form) for form in ("words", "menu"))
    able = follows_words(words)
    every = PROBE_EVERY if able else PROBE_EVERY_IF_UNABLE
    probing = situation.ordinal % every == every - 1
    proven = words.asks >= MIN_ASKS_JUDGED and words.improved >= MIN_IMPROVEMENTS
    better = able and proven and improvement_rate(words) > improvement_rate(menu)
    return "words" if better != probing else "menu"


def follows_words(words: Score) -> bool:
    """Whether the model stays in regions given in words and finds new configurations there; True until judged."""
    if words.asks < MIN_ASKS_JUDGED:
        return True
    return words.inside >= MIN_INSIDE * words.asks and words.stumbled <= MAX_STUMBLED * words.asks


def improvement_rate(score: Score) -> float:
    """The estimated chance that an ask of this kind improves the best trial."""
    return (score.improved + 1) / (score.asks + PRIOR_ASKS)
