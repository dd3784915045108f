"""What users pass, checked before anything runs."""

import inspect
import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from optuna import Study

from .errors import UsageError
from .protocols import Workers

F = TypeVar("F", bound=Callable[..., Any])


def require_single_objective(study: Study) -> None:
    """Refuse what is not supported yet."""
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


def at_least(name: str, value: int, least: int) -> int:
    """A whole number, not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def seconds(name: str, value: float | None) -> float | None:
    """A positive finite duration, or None for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"{name} must be a positive number of seconds or None, not {value!r}")
    return float(value)


def duration(name: str, value: float) -> float:
    """A finite number of seconds, 0 included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"{name} must be a number of seconds of at least 0, not {value!r}")
    return float(value)


def signals_wanted(value: bool | None) -> bool:
    """None: where it can be done; True: it must be."""
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"handle_signals must be True, False or None, not {value!r}")
    if value and threading.current_thread() is not threading.main_thread():
        raise UsageError("handle_signals=True works in the main thread only: Python delivers signals to no other")
    return value is not False


def share(name: str, value: float | None) -> float | None:
    """A number from 0 to below 1, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise UsageError(f"{name} must be a number from 0 to below 1 or None, not {value!r}")
    return float(value)


def function(name: str, value: F) -> F:
    """Something callable."""
    if not callable(value):
        raise UsageError(f"{name} must be callable, not {value!r}")
    return value


def exceptions(value: Iterable[type[BaseException]] | type[BaseException]) -> tuple[type[BaseException], ...]:
    """The exception types of `catch`, one or several."""
    kinds = (value,) if isinstance(value, type) else _several("catch takes exception types", value)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(f"catch takes exception types, not {kind!r}")
    return kinds


def plain_functions(name: str, value: Iterable[F] | None) -> tuple[F, ...]:
    """Functions that are called and not awaited."""
    found = () if value is None else _several(f"{name} takes a list of functions", value)
    for given in found:
        if is_coroutine_function(function(name, given)):
            raise UsageError(f"{name} must be plain functions: nothing would await {given!r}")
    return found


def workers_of(value: Workers) -> Workers:
    """An object with `slots` and `run`."""
    if isinstance(value, type) or not isinstance(value, Workers):
        raise UsageError(f"workers must be an object such as CoroutineWorkers() or ThreadWorkers(), not {value!r}")
    return value


def slots_of(value: int | None) -> int | None:
    """How many objectives run at once in one place, None if it does not matter."""
    return None if value is None else at_least("slots", value, 1)


def _several(wanted: str, value: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise UsageError(f"{wanted}, not {value!r}")
    return tuple(value)
