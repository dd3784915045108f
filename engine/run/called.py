"""What a wrong call says: the name of the function as it was called, and our word for one of Optuna's."""

import functools
import inspect
from collections.abc import Callable, Collection, Coroutine, Mapping
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Keywords of `Study.optimize` that are others here.
_OF_OPTUNA: Final[Mapping[str, str]] = {
    "func": "the objective is `objective`",
    "n_jobs": "use n_workers",
    "gc_after_trial": "leave it out, there is none here",
}

_BY_PLACE: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def checked(run: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The same coroutine function, whose `TypeError` names it as its users do."""
    signature = inspect.signature(run)

    @functools.wraps(run)
    async def called(*args: P.args, **kwargs: P.kwargs) -> R:
        require_fitting(run.__name__, signature, args, kwargs)
        return await run(*args, **kwargs)

    return called


def require_fitting(function: str, signature: Signature, args: Collection[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise the `TypeError` of a call that does not fit, with what to write instead of a keyword that there is not."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = [name for name in kwargs if name not in signature.parameters]
        hints = [f"{name}: {hint}" for name in unknown if (hint := _instead(name, signature))]
        if len(args) > sum(each.kind in _BY_PLACE for each in signature.parameters.values()):
            hints.append("give all but study and objective by name, as in n_trials=100")
        raise TypeError("; ".join([f"{function}(): {error}", *hints])) from None


def _instead(name: str, signature: Signature) -> str | None:
    if name in _OF_OPTUNA:
        return _OF_OPTUNA[name]
    near = get_close_matches(name, signature.parameters, n=1)
    return f"did you mean {near[0]}?" if near else None
