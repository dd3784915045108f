"""A user's strategy, whose guidance is looked over before it is used."""

from collections.abc import Sequence
from typing import Any

from ...engine.errors import UsageError
from ..notation import show
from ..space import Space
from .strategy import Guidance, Situation, Strategy


class Checked:
    """Passes on what the strategy says; raises `UsageError` for what no ask could be told."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def __repr__(self) -> str:
        return repr(self._strategy)

    @property
    def name(self) -> str:
        """The strategy's own."""
        return self._strategy.name

    def guide(self, situation: Situation) -> Guidance:
        """The strategy's guidance, if it is one, and its menu offers values of the space."""
        guidance = self._strategy.guide(situation)
        if not isinstance(guidance, Guidance):
            raise UsageError(f"strategy {self.name!r}: guide() must return a Guidance, not {show(guidance)}")
        for name, values in guidance.menu.items():
            self._check(name, values, situation.space)
        return guidance

    def _check(self, name: str, values: Sequence[Any], space: Space) -> None:
        what = f"strategy {self.name!r}: its menu"
        if name not in space.distributions:
            raise UsageError(f"{what} names {name!r}, but asked for are {', '.join(map(repr, space.distributions))}")
        if not values:
            raise UsageError(f"{what} offers nothing for {name!r}; leave the name out instead")
        distribution = space.distributions[name]
        for value in values:
            if not _fits(value, distribution):
                raise UsageError(f"{what} offers {show(value)} for {name!r}, which is not in {distribution!r}")


def _fits(value: Any, distribution: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
