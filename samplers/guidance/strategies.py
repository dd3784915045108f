"""The strategies by name: `"plain"`, `"guided"`, `"menu"` and `"adaptive"`, or a user's own."""

from collections.abc import Mapping
from typing import Final, Literal

from ...engine.errors import UsageError
from ..roles import PROPOSE
from .adaptive import Adaptive
from .roles import role_of
from .strategy import Guidance, Situation, Strategy
from .validate import ValidatedStrategy
from .words import guidance_in


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
