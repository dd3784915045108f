"""The strategies by name: `"plain"`, `"guided"`, `"menu"` and `"adaptive"`, or a user's own."""

from collections.abc import Mapping
from typing import Final, Literal

from ...engine.errors import UsageError
from ..provenance import COMBINE, EXPLORE, FIRST_GUESS, PROPOSE, REFINE
from ..view.evidence import Score
from .offer import DESIGN_SIZE
from .strategy import Guidance, Situation, Strategy
from .validate import ValidatedStrategy
from .words import guidance_in

# Complete trials without an improvement after which some asks combine the best trials: with all roles in turn, two
# or three refining asks have failed by then.
COMBINE_AFTER: Final = 6

# While nothing improves, one ask in so many combines: the others must go on to bring new values to combine.
COMBINE_EVERY: Final = 6

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


class Plain:
    """Shows the history and nothing else; every ask has the same role."""

    name: Final = "plain"

    def __init__(self, role: str = PROPOSE) -> None:
        self._role = role

    def guide(self, situation: Situation) -> Guidance:
        """The role alone."""
        return Guidance(strategy=self.name, role=self._role)


class OneForm:
    """Gives each ask a role by the study's progress, always in the same form: a region in words, or a menu."""

    def __init__(self, name: str, form: Literal["words", "menu"]) -> None:
        self.name = name
        self._form = form

    def guide(self, situation: Situation) -> Guidance:
        """The role, and where to look for it."""
        return guidance_in(self._form, situation, role_of(situation), self.name)


class Adaptive:
    """Begins with menus and as much exploring as refining; goes on with more of what has improved the best trial."""

    name: Final = "adaptive"

    def guide(self, situation: Situation) -> Guidance:
        """A role and a form by the study's own record."""
        evidence = situation.evidence
        share = explore_share(evidence.score(role=EXPLORE), evidence.score(role=REFINE))
        return guidance_in(preferred_form(situation), situation, role_of(situation, share), self.name)


STRATEGIES: Final[Mapping[str, Strategy]] = {
    "adaptive": Adaptive(),
    "guided": OneForm("guided", "words"),
    "menu": OneForm("menu", "menu"),
    "plain": Plain(),
}


def strategy_named(strategy: str | Strategy) -> Strategy:
    """The strategy of that name, or the user's own with its guidance validated.

    Raises `UsageError` for an unknown name, and for an object without `guide` or a string as its `name`.
    """
    if isinstance(strategy, str) and strategy in STRATEGIES:
        return STRATEGIES[strategy]
    if isinstance(strategy, str | type) or not isinstance(strategy, Strategy):
        names = ", ".join(map(repr, STRATEGIES))
        raise UsageError(f"strategy must be one of {names}, or an object with `name` and `guide`, not {strategy!r}")
    if not isinstance(strategy.name, str):
        raise UsageError(f"the `name` of a strategy must be a string, not {strategy.name!r}")
    return ValidatedStrategy(strategy)


# -- the role of an ask


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


# -- what has improved the study


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
