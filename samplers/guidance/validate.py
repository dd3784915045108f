"""A user's strategy, whose guidance is validated before an ask is told it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NoReturn, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...engine.errors import UsageError
from ...engine.study.distributions import contains, plain
from ..space.axes import Axes, Choices, Interval
from ..space.space import Space
from .strategy import Form, Guidance, Situation, Strategy
from .words import menu_text


class ValidatedStrategy:
    """Passes on the guidance of a user's strategy; raises `UsageError` for what no ask could be told."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def __repr__(self) -> str:
        return repr(self._strategy)

    @property
    def name(self) -> str:
        """The name of the user's strategy."""
        return self._strategy.name

    def guide(self, situation: Situation) -> Guidance:
        """Pass on the strategy's guidance, with numbers of other libraries as Python's own.

        What is fixed for this ask is left out of the menu. The menu stands in the words as well: not every client takes
        a new schema with each ask.
        """
        guidance = self._strategy.guide(situation)
        if not isinstance(guidance, Guidance):
            self._refuse(f"guide() must return a Guidance, not {_shown(guidance)}")
        self._check_kinds(guidance)
        axes, space = situation.evidence.axes, situation.space
        menu = {
            name: self._menu_values(name, values, space)
            for name, values in guidance.menu.items()
            if name not in situation.fixed
        }
        region = {name: self._part(name, part, axes) for name, part in guidance.region.items()}
        if not all(isinstance(row, Sequence) and len(row) == len(axes) for row in guidance.offered):
            self._refuse(f"offered must be rows of {len(axes)} places, not {_shown(guidance.offered)}")
        words = " ".join(part for part in (guidance.words, menu_text(menu, space)) if part)
        return replace(guidance, menu=menu, region=region, words=words)

    def _refuse(self, reason: str) -> NoReturn:
        raise UsageError(f"strategy {self.name!r}: {reason}")

    def _check_kinds(self, guidance: Guidance) -> None:
        wrong = [
            f"{name} must be {what}, not {_shown(getattr(guidance, name))}"
            for name, what, right in (
                ("strategy", "a string", isinstance(guidance.strategy, str)),
                ("role", "a string", isinstance(guidance.role, str)),
                ("form", "one of 'plain', 'words', 'menu'", guidance.form in get_args(Form)),
                ("words", "a string", isinstance(guidance.words, str)),
                ("menu", "a mapping from names to lists of values", _is_menu(guidance.menu)),
                ("region", "a mapping from names to Interval or Choices", _is_region(guidance.region)),
                ("summary", "a tuple of strings", _is_lines(guidance.summary)),
            )
            if not right
        ]
        if wrong:
            self._refuse("; ".join(wrong))

    def _menu_values(self, name: str, values: Sequence[Any], space: Space) -> list[Any]:
        if name not in space.distributions:
            asked = ", ".join(map(repr, space.distributions))
            self._refuse(f"its menu names {name!r}, but asked for are {asked}")
        if not values:
            self._refuse(f"its menu offers nothing for {name!r}; leave the name out instead")
        distribution = space.distributions[name]
        for value in values:
            if not _fits(value, distribution):
                self._refuse(f"its menu offers {_shown(value)} for {name!r}, which is not in {distribution!r}")
        return [_as_answer(value, distribution) for value in values]

    def _part(self, name: str, part: Interval | Choices, axes: Axes) -> Interval | Choices:
        axis = axes.by_name.get(name)
        if axis is None:
            self._refuse(f"its region names {name!r}, which is no parameter with several values")
        distribution = axis.distribution
        if isinstance(part, Choices):
            wrong = [value for value in part.values if not _fits(value, distribution)]
            if wrong or not part.values:
                says = f"{_shown(wrong[0])} among" if wrong else "none of"
                self._refuse(f"its region has {says} the choices of {name!r}; it is {distribution!r}")
            return Choices(values=tuple(_as_answer(value, distribution) for value in part.values))
        if axis.categorical or not (_is_number(part.low) and _is_number(part.high) and part.low <= part.high):
            self._refuse(
                f"its region has an Interval with the ends {_shown(part.low)} and {_shown(part.high)} for {name!r}; "
                f"give two numbers, the lower one first, and Choices for what has no order; it is {distribution!r}"
            )
        whole = isinstance(distribution, IntDistribution)
        return Interval(low=_number(part.low, whole=whole), high=_number(part.high, whole=whole))


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
    if not isinstance(distribution, CategoricalDistribution) and not _is_number(value):
        return False
    try:
        return contains(distribution, value)
    except (TypeError, ValueError):
        return False


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _as_answer(value: Any, distribution: BaseDistribution) -> Any:
    """The value as Python's own kind: numpy's numbers are no JSON."""
    if isinstance(distribution, CategoricalDistribution):
        return plain(value)
    return _number(value, whole=isinstance(distribution, IntDistribution))


def _number(value: Any, *, whole: bool) -> int | float:
    return int(value) if whole and value == int(value) else float(value)
