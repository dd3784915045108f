"""A user's strategy, whose guidance is looked over before it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution

from ...engine.errors import UsageError
from ..space import Space
from .axes import Choices, Interval
from .strategy import Form, Guidance, Situation, Strategy
from .words import menu_text


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
        """The strategy's guidance, if it is one, and its menu offers values of the space.

        What is fixed for this ask is left out of the menu. The menu stands in the words as well: not every client takes
        a new schema with each ask.
        """
        guidance = self._strategy.guide(situation)
        if not isinstance(guidance, Guidance):
            raise UsageError(f"{self._who}: guide() must return a Guidance, not {_shown(guidance)}")
        self._check_kinds(guidance)
        menu = {name: values for name, values in guidance.menu.items() if name not in situation.fixed}
        for name, values in menu.items():
            self._check(name, values, situation.space)
        for name in guidance.region:
            if name not in situation.evidence.axes.by_name:
                raise UsageError(f"{self._who}: its region names {name!r}, which is no parameter with several values")
        offered = menu_text(menu, situation.space)
        return replace(guidance, menu=menu, words=" ".join(part for part in (guidance.words, offered) if part))

    @property
    def _who(self) -> str:
        return f"strategy {self.name!r}"

    def _check_kinds(self, guidance: Guidance) -> None:
        wrong = [
            f"{name} must be {what}, not {_shown(value)}"
            for name, what, value, right in (
                ("strategy", "a string", guidance.strategy, isinstance(guidance.strategy, str)),
                ("role", "a string", guidance.role, isinstance(guidance.role, str)),
                ("form", "one of 'plain', 'words', 'menu'", guidance.form, guidance.form in get_args(Form)),
                ("words", "a string", guidance.words, isinstance(guidance.words, str)),
                ("menu", "a mapping from names to lists of values", guidance.menu, _is_menu(guidance.menu)),
                ("region", "a mapping from names to Interval or Choices", guidance.region, _is_region(guidance.region)),
                ("summary", "a tuple of strings", guidance.summary, _is_lines(guidance.summary)),
            )
            if not right
        ]
        if wrong:
            raise UsageError(f"{self._who}: {'; '.join(wrong)}")

    def _check(self, name: str, values: Sequence[Any], space: Space) -> None:
        what = f"{self._who}: its menu"
        if name not in space.distributions:
            raise UsageError(f"{what} names {name!r}, but asked for are {', '.join(map(repr, space.distributions))}")
        if not values:
            raise UsageError(f"{what} offers nothing for {name!r}; leave the name out instead")
        distribution = space.distributions[name]
        for value in values:
            if not _fits(value, distribution):
                raise UsageError(f"{what} offers {_shown(value)} for {name!r}, which is not in {distribution!r}")


def _shown(value: object) -> str:
    return repr(value)[:200]


def _is_menu(menu: object) -> bool:
    return isinstance(menu, Mapping) and all(
        isinstance(values, Sequence) and not isinstance(values, str) for values in menu.values()
    )


def _is_region(region: object) -> bool:
    return isinstance(region, Mapping) and all(isinstance(part, Interval | Choices) for part in region.values())


def _is_lines(summary: object) -> bool:
    return isinstance(summary, list | tuple) and all(isinstance(line, str) for line in summary)


def _fits(value: Any, distribution: BaseDistribution) -> bool:
    if isinstance(value, bool) and not isinstance(distribution, CategoricalDistribution):
        return False
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
