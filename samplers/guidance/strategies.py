"""The strategies by name: `"plain"`, `"menu"` and `"adaptive"`, or a user's own."""

from collections.abc import Mapping
from typing import Final

from ...engine.errors import UsageError
from ..provenance import PROPOSE
from .adaptive import Adaptive
from .facts import facts
from .menu import Menu
from .strategy import Guidance, Situation, Strategy, undisturbed
from .validate import ValidatedStrategy


class Plain:
    """Shows the history and facts about it, and leaves the model free; every ask has the same role."""

    name: Final = "plain"

    def __init__(self, role: str = PROPOSE) -> None:
        self._role = role

    @undisturbed
    def guide(self, situation: Situation) -> Guidance:
        """The facts alone."""
        return Guidance(strategy=self.name, role=self._role, summary=facts(situation))


STRATEGIES: Final[Mapping[str, Strategy]] = {"adaptive": Adaptive(), "menu": Menu(), "plain": Plain()}


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
