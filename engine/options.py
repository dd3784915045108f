"""What users pass, checked before anything runs."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    _convert_old_distribution_to_new_distribution,
)

from .errors import UsageError
from .records import SearchSpace

F = TypeVar("F", bound=Callable[..., Any])


def require_single_objective(study: Study) -> None:
    """Refuse what is not supported yet."""
    if not isinstance(study, Study):
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
    kinds = (value,) if isinstance(value, type) else tuple(value)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(f"catch takes exception types, not {kind!r}")
    return kinds


def check_search_space(search_space: Mapping[str, BaseDistribution]) -> SearchSpace:
    """A search space that Optuna and a model can work with; deprecated distributions are converted.

    Raises `UsageError` naming the parameter: an empty space, a name that is no string, a value that is no
    distribution, bounds that are not finite.
    """
    if not isinstance(search_space, Mapping):
        raise UsageError(f"search_space must map names to Optuna distributions, not {type(search_space).__name__}")
    if not search_space:
        raise UsageError("search_space is empty: declare at least one parameter, or leave it out")
    return {name: _check_distribution(name, distribution) for name, distribution in search_space.items()}


def same_space(one: SearchSpace | None, other: SearchSpace | None) -> bool:
    """Whether two spaces agree; None agrees with everything."""
    return one is None or other is None or dict(one) == dict(other)


def _check_distribution(name: Any, distribution: Any) -> BaseDistribution:
    if not isinstance(name, str):
        raise UsageError(f"search_space: the parameter name {name!r} must be a string")
    if not isinstance(distribution, FloatDistribution | IntDistribution | CategoricalDistribution):
        raise UsageError(
            f"search_space: {name!r} is {distribution!r}, which is not an Optuna distribution; "
            "use FloatDistribution, IntDistribution or CategoricalDistribution of optuna.distributions"
        )
    current = _convert_old_distribution_to_new_distribution(distribution, suppress_warning=True)
    if isinstance(current, FloatDistribution) and not all(
        math.isfinite(bound) for bound in (current.low, current.high, current.high - current.low)
    ):
        raise UsageError(
            f"search_space: {name!r} ranges from {current.low} to {current.high}; both bounds must be finite"
        )
    return current
