"""The strategy that a user asks for: by name, or their own."""

from typing import Final

from ...engine.errors import UsageError
from .adaptive import Adaptive
from .guided import Guided
from .menu import Menu
from .plain import Plain
from .strategy import Strategy

STRATEGIES: Final = {strategy.name: strategy for strategy in (Adaptive, Guided, Menu, Plain)}


def chosen(strategy: str | Strategy) -> Strategy:
    """The strategy of that name, or the object itself. Raises `UsageError` for what is neither."""
    if isinstance(strategy, str) and strategy in STRATEGIES:
        return STRATEGIES[strategy]()
    if isinstance(strategy, str | type) or not isinstance(strategy, Strategy):
        names = ", ".join(map(repr, STRATEGIES))
        raise UsageError(f"strategy must be one of {names}, or an object with `name` and `guide`, not {strategy!r}")
    return strategy
