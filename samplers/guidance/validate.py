"""A user's strategy, whose guidance is looked over before it is used."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...engine.errors import UsageError
from ...engine.study.distributions import plain
from ...engine.study.optuna_internals import contains
from ..space.axes import Axes, Choices, Interval
from ..space.space import Space
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
        menu = {
            name: self._offered(name, values, situation.space)
            for name, values in guidance.menu.items()
            if name not in situation.fixed
        }
        axes = situation.evidence.axes
        region = {name: self._part(name, part, axes) for name, part in guidance.region.items()}
        if not all(isinstance(row, Sequence) and len(row) == len(axes) for row in guidance.offered):
            raise UsageError(f"{self._who}: offered must be rows of {len(axes)} places, not {_shown(guidance.offered)}")
        words = " ".join(part for part in (guidance.words, menu_text(menu, situation.space)) if part)
        return replace(guidance, menu=menu, region=region, words=words)

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

    def _offered(self, name: str, values: Sequence[Any], space: Space) -> list[Any]:
        """The values of one parameter's menu, numbers as Python's own."""
        what = f"{self._who}: its menu"
        if name not in space.distributions:
            raise UsageError(f"{what} names {name!r}, but asked for are {', '.join(map(repr, space.distributions))}")
        if not values:
            raise UsageError(f"{what} offers nothing for {name!r}; leave the name out instead")
        distribution = space.distributions[name]
        for value in values:
            if not _fits(value, distribution):
                raise UsageError(f"{what} offers {_shown(value)} for {name!r}, which is not in {distribution!r}")
        return [_own(value, distribution) for value in values]

    def _part(self, name: str, part: Interval | Choices, axes: Axes) -> Interval | Choices:
        """One parameter's part of the region, numbers as Python's own."""
        what = f"{self._who}: its region"
        axis = axes.by_name.get(name)
        if axis is None:
            raise UsageError(f"{what} names {name!r}, which is no parameter with several values")
        if isinstance(part, Choices):
            wrong = [value for value in part.values if not _fits(value, axis.distribution)]
            if wrong or not part.values:
                says = f"{_shown(wrong[0])} among" if wrong else "none of"
                raise UsageError(f"{what} has {says} the choices of {name!r}; it is {axis.distribution!r}")
            return Choices(values=tuple(_own(value, axis.distribution) for value in part.values))
        if axis.categorical or not (_is_number(part.low) and _is_number(part.high) and part.low <= part.high):
            ends = f"{_shown(part.low)} and {_shown(part.high)}"
            raise UsageError(
                f"{what} has an Interval with the ends {ends} for {name!r}; give two numbers, the lower one first, and "
                f"Choices for what has no order; it is {axis.distribution!r}"
            )
        whole = isinstance(axis.distribution, IntDistribution)
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


def _own(value: Any, distribution: BaseDistribution) -> Any:
    """A value that fits, as an answer has it: numpy's numbers are no JSON."""
    if isinstance(distribution, CategoricalDistribution):
        return plain(value)
    return _number(value, whole=isinstance(distribution, IntDistribution))


def _number(value: Any, *, whole: bool) -> int | float:
    return int(value) if whole and value == int(value) else float(value)
