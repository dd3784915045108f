"""A user's strategy, whose guidance is validated before an ask is told it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...engine.errors import UsageError
from ...engine.records import Params
from ...engine.study.distributions import contains, plain
from .strategy import Guidance, Situation, Strategy


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

        What is fixed for this ask is left out of the candidates.
        """
        guidance = self._strategy.guide(situation)
        if not isinstance(guidance, Guidance):
            self._refuse(f"guide() must return a Guidance, not {_shown(guidance)}")
        self._check_kinds(guidance)
        candidates = tuple(self._candidate(candidate, situation) for candidate in guidance.candidates)
        return replace(guidance, candidates=candidates, expected=tuple(map(float, guidance.expected)))

    def _refuse(self, reason: str) -> NoReturn:
        raise UsageError(f"strategy {self.name!r}: {reason}")

    def _check_kinds(self, guidance: Guidance) -> None:
        listed = guidance.candidates
        wrong = [
            f"{name} must be {what}, not {_shown(getattr(guidance, name))}"
            for name, what, right in (
                ("strategy", "a string", isinstance(guidance.strategy, str)),
                ("role", "a string", isinstance(guidance.role, str)),
                ("reason", "a string", isinstance(guidance.reason, str)),
                ("words", "a string", isinstance(guidance.words, str)),
                ("summary", "a tuple of strings", _is_list_of(guidance.summary, str)),
                ("optional", "True or False", isinstance(guidance.optional, bool)),
                ("candidates", "a list of mappings from names to values", _is_list_of(listed, Mapping)),
            )
            if not right
        ]
        if not wrong and not (
            _is_list_of(guidance.expected, Real) and len(guidance.expected) in (0, len(guidance.candidates))
        ):
            wrong = [f"expected must be one number for each candidate, not {_shown(guidance.expected)}"]
        if wrong:
            self._refuse("; ".join(wrong))

    def _candidate(self, candidate: Params, situation: Situation) -> Params:
        space, fixed = situation.space.distributions, situation.fixed
        for name, value in candidate.items():
            if name not in space and name not in fixed:
                self._refuse(f"a candidate names {name!r}, but asked for are {', '.join(map(repr, space))}")
            if name in space and not _fits(value, space[name]):
                self._refuse(f"a candidate has {_shown(value)} for {name!r}, which is not in {space[name]!r}")
        if not candidate.keys() & space.keys():
            self._refuse(f"a candidate has none of the parameters that are asked for: {', '.join(map(repr, space))}")
        return {name: _as_answer(value, space[name]) for name, value in candidate.items() if name in space}


def _shown(value: object) -> str:
    return repr(value)[:200]


def _is_list_of(listed: object, kind: type) -> bool:
    return isinstance(listed, Sequence) and not isinstance(listed, str) and all(isinstance(one, kind) for one in listed)


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
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
