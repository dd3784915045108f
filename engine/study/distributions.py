"""Distributions: a search space is checked before anything runs, and values are told apart as storages do."""

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from ..errors import UsageError
from ..foreign_text import text_of
from ..records import SearchSpace

EXACT_INT = 2**53  # Optuna stores integers as floats, which hold every integer up to here

LONGEST_NAME: Final = 512  # characters of a parameter's name that databases hold
SHOWN: Final = 200  # characters of a distribution or a choice in a message

Number = TypeVar("Number", FloatDistribution, IntDistribution)


def check_search_space(search_space: Mapping[str, BaseDistribution]) -> SearchSpace:
    """The same space with deprecated distributions converted.

    Raises `UsageError`, which names the parameter, for an empty space, a name that is no string, a value that is no
    distribution, bounds that are not finite, and a range or a grid that floats cannot hold.
    """
    if not isinstance(search_space, Mapping):
        raise UsageError(f"a search space is a mapping of names to distributions, not {type(search_space).__name__}")
    if not search_space:
        raise UsageError("the search space is empty: give at least one parameter, or leave it out")
    return {name: _checked(name, distribution) for name, distribution in search_space.items()}


def require_same_kinds(search_space: SearchSpace, known: SearchSpace) -> None:
    """Refuse what a study cannot take beside the distributions that are `known` of it.

    Optuna keeps one kind, one scale and one list of choices of a parameter in a study; ranges may change. Not every
    storage insists on it, and those that do would only refuse the trial, after the model was asked.
    """
    for name, distribution in search_space.items():
        before = known.get(name, distribution)
        try:
            check_distribution_compatibility(before, distribution)
        except ValueError as error:
            raise UsageError(
                f"parameter {name!r} is {_shown(distribution)}, but was {_shown(before)} in this study ({error}) Only "
                "bounds and steps may change: keep the rest as it was, give the parameter another name, or begin "
                "another study"
            ) from None


def require_storable(search_space: SearchSpace) -> None:
    """Refuse names and choices that a storage which outlives its process could not hold, or give back as they were."""
    for name, distribution in search_space.items():
        if "\0" in name or len(name) > LONGEST_NAME or name.encode(errors="ignore").decode() != name:
            problem = f"databases take up to {LONGEST_NAME} characters of Unicode text, and no NUL"
            raise UsageError(f"parameter name {_shown(name)}: {problem}")
        lost = _lost(distribution.choices) if isinstance(distribution, CategoricalDistribution) else []
        if lost:
            raise UsageError(
                f"parameter {name!r}: the study's storage cannot give back the choice {_shown(lost[0])} "
                f"({type(lost[0]).__name__}). Choices are None, bool, int, float or str, no two of them equal as 1 and "
                "True are: use names, and look up in the objective what they stand for"
            )


def _lost(choices: Sequence[Any]) -> list[Any]:
    """The choices that do not come back from JSON as they were, or would be taken for an earlier one."""
    first: dict[Any, Any] = {}
    lost = []
    for choice in choices:
        try:
            known = first.setdefault(choice, choice) if isinstance(choice, Hashable) else choice
            kept = same(json.loads(json.dumps(choice)), choice) and same(known, choice)
        except (TypeError, ValueError, RecursionError):
            kept = False
        lost += [] if kept else [choice]
    return lost


def _shown(thing: object) -> str:
    text = text_of(thing, repr)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def plain(value: Any) -> Any:
    """A choice as a storage gives it back: a str, int or float for one of a class derived from them."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, float) else value


def same(one: Any, other: Any) -> bool:
    """Whether two choices are equal in value and type, as storages tell them apart; NaN equals NaN."""
    one, other = plain(one), plain(other)
    if type(one) is not type(other):
        return False
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether Optuna's own check of ranges and grids lets `value` pass.

    Raises `TypeError` or `ValueError` for what it cannot read.
    """
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def exact_int(value: int, distribution: IntDistribution) -> int:
    """The integer that a storage gives back for `value`, kept inside the range."""
    stored = float(value)
    if stored > distribution.high:
        stored = math.nextafter(stored, -math.inf)
    elif stored < distribution.low:
        stored = math.nextafter(stored, math.inf)
    return int(stored)


def _checked(name: Any, given: Any) -> BaseDistribution:
    if not isinstance(name, str):
        raise UsageError(f"parameter name {name!r} is a {type(name).__name__}: names are strings")
    if isinstance(given, CategoricalDistribution):
        return given
    if isinstance(given, FloatDistribution):
        _check_float(name, given)
        return _modern(given, FloatDistribution)
    if isinstance(given, IntDistribution):
        _check_int(name, given)
        return _modern(given, IntDistribution)
    raise UsageError(
        f"parameter {name!r}: {type(given).__name__} is no Optuna distribution; use FloatDistribution, IntDistribution "
        "or CategoricalDistribution"
    )


def _modern(given: Number, kind: type[Number]) -> Number:
    """Convert a deprecated distribution; the step is set apart, because a constructor adjusts `high` and warns."""
    if type(given) is kind:
        return given
    converted = kind(given.low, given.high, log=given.log)
    converted.step = given.step
    return converted


def _check_float(name: str, given: FloatDistribution) -> None:
    low, high, step = given.low, given.high, given.step
    if not all(math.isfinite(number) for number in (low, high, step or 0.0)):
        raise UsageError(f"parameter {name!r}: {given!r} is not finite; give finite bounds and step")
    if not math.isfinite(high - low):
        raise UsageError(f"parameter {name!r}: {given!r} is wider than a float can hold; narrow it or use log=True")
    if step is not None and max(abs(low), abs(high), high - low) / step > EXACT_INT:
        raise UsageError(f"parameter {name!r}: the step of {given!r} is finer than a float can tell; use a larger one")


def _check_int(name: str, given: IntDistribution) -> None:
    low, high, step = given.low, given.high, given.step
    if max(abs(low), abs(high), high - low) <= EXACT_INT:
        return
    try:
        stored = step == 1 and all(low <= exact_int(bound, given) <= high for bound in (low, high))
    except OverflowError:
        stored = False
    if not stored:
        raise UsageError(
            f"parameter {name!r}: Optuna stores integers as floats, which are exact up to 2**53 only, and this range "
            "goes beyond; narrow it, or tune its logarithm or an index"
        )
