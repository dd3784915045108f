"""The strategy that a user asks for: by name, or their own."""

import importlib
from typing import Final

from ...engine.errors import UsageError
from .strategy import Strategy
from .validate import Checked

STRATEGIES: Final = {"adaptive": "Adaptive", "guided": "Guided", "menu": "Menu", "plain": "Plain"}
"""The class of each, in the module of its name; imported when it is chosen: they are a sixth of all our modules."""


def chosen(strategy: str | Strategy) -> Strategy:
    """The strategy of that name, or the user's own, checked. Raises `UsageError` for what is neither."""
    if isinstance(strategy, str) and strategy in STRATEGIES:
        made: Strategy = getattr(importlib.import_module(f".{strategy}", __package__), STRATEGIES[strategy])()
        return made
    if isinstance(strategy, str | type) or not isinstance(strategy, Strategy):
        names = ", ".join(map(repr, STRATEGIES))
        raise UsageError(f"strategy must be one of {names}, or an object with `name` and `guide`, not {strategy!r}")
    if not isinstance(strategy.name, str):
        raise UsageError(f"the `name` of a strategy must be a string, not {strategy.name!r}")
    return Checked(strategy)
