"""Checks of what users pass: each returns the value, or raises `UsageError` with what to pass instead."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from optuna import Study

from .errors import UsageError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", bound=float | None)


def number(
    name: str,
    value: N,
    *,
    low: float = 0,
    high: float = math.inf,
    positive: bool = False,
    whole: bool = False,
    optional: bool = False,
    unit: str = "",
) -> N:
    """A finite number, at least `low` (above 0 if `positive`) and at most `high`; None only if `optional`.

    `whole` asks for an `int`. Booleans are refused: Python counts them as numbers, and nobody means them so.
    """
    if value is None and optional:
        return value
    kinds = int if whole else (int, float)
    if (
        isinstance(value, kinds)
        and not isinstance(value, bool)
        and low <= value <= high
        and value < math.inf
        and (value or not positive)
    ):
        return value
    kind = f"{'positive ' if positive else ''}{'whole ' if whole else ''}number{unit}"
    limits = f" from {low:g} to {high:g}" if high < math.inf else "" if positive else f" of at least {low:g}"
    raise UsageError(f"{name} must be a {kind}{limits}{' or None' if optional else ''}, not {value!r}")


def texts(name: str, value: str | Sequence[str], instead: str = "") -> str | tuple[str, ...]:
    """A string, or a copy of a sequence of strings. `instead`: what else to do with a thing that is neither."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise UsageError(f"{name} must be a string or a list of strings, not a {type(value).__name__}{instead}")
    for index, part in enumerate(value):
        if not isinstance(part, str):
            raise UsageError(f"{name}[{index}] must be a string, not a {type(part).__name__}{instead}")
    return tuple(value)


def instance(name: str, value: T | None, kind: type[T]) -> T | None:
    """An object of type `kind`, or None."""
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value


def meanings(parameters: Mapping[str, str] | None) -> Mapping[str, str]:
    """A copy of what the parameters' names mean; empty for None."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping) or not all(isinstance(v, str) for kv in parameters.items() for v in kv):
        raise UsageError(f"parameters must map names to one-line meanings, not {parameters!r}")
    return dict(parameters)


def function(name: str, value: F) -> F:
    """Something callable."""
    if not callable(value):
        raise UsageError(f"{name} must be callable, not {value!r}")
    return value


def plain_functions(name: str, value: Iterable[F] | None) -> tuple[F, ...]:
    """Functions that are called and not awaited; none for None."""
    functions = () if value is None else _several(f"{name} takes a list of functions", value)
    for item in functions:
        if is_coroutine_function(function(name, item)):
            raise UsageError(f"{name} must be plain functions: nothing would await {item!r}")
    return functions


def exceptions(
    name: str, value: Iterable[type[BaseException]] | type[BaseException]
) -> tuple[type[BaseException], ...]:
    """One exception type or several, as a tuple."""
    kinds = (value,) if isinstance(value, type) else _several(f"{name} takes exception types", value)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(f"{name} takes exception types, not {kind!r}")
    return kinds


def require_single_objective(study: Study) -> None:
    """Refuse studies with several objectives, which are not supported yet, and what is no study at all."""
    if not hasattr(study, "directions"):  # a pruner's filtered view of a study is no Study
        raise UsageError(f"study must be an optuna.Study, not {study!r}")
    if len(study.directions) != 1:
        raise UsageError(
            f"the study {study.study_name!r} has {len(study.directions)} objectives; optuna-llm supports one: "
            "create it with `direction=` instead of `directions=`"
        )


def is_coroutine_function(objective: Any) -> bool:
    """Whether calling it gives a coroutine; sees through partials and callable objects."""
    while hasattr(objective, "func") and callable(objective.func):
        objective = objective.func
    return inspect.iscoroutinefunction(objective) or inspect.iscoroutinefunction(getattr(objective, "__call__", None))  # noqa: B004


def _several(wanted: str, value: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise UsageError(f"{wanted}, not {value!r}")
    return tuple(value)
