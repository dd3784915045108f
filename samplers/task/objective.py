"""What an objective says of itself: its name, its docstring, its source."""

import functools
import inspect
import textwrap
import tokenize
from collections.abc import Callable
from typing import Any

from ...engine.foreign_text import clean, printable
from ...engine.secrets import REMOVED
from ..space.notation import redact, show
from .parts import shorten
from .source import is_secretive, without_secrets

# Characters. An objective of 70 lines is shown whole, and a quarter of a prompt's task is left for other parts.
MAX_SOURCE = 3000
MAX_DOCSTRING = 1000
MAX_TITLE = 80  # names of generated code can have any length
MAX_BOUND = 10  # arguments of a partial; what has more is a table of settings, and no help


def objective_facts(objective: Callable[..., Any]) -> str:
    """Give name, docstring and source of a function, a method, a partial, a class or an object that can be called."""
    inner, bound = _unbound(objective)
    told = inner if _has_code(inner) else type(inner)
    source = shorten(_source(inner), MAX_SOURCE)
    doc = shorten(printable(redact(inspect.cleandoc(told.__doc__ or ""))).strip(), MAX_DOCSTRING)
    name = clean(told.__qualname__.rpartition("<locals>.")[2], MAX_TITLE)
    parts = [f"The objective is `{name}`, in Python:" if source else f"The objective is `{name}{_names(inner)}`."]
    parts += [_fenced(source)] * bool(source)
    parts += [doc] * (doc.partition("\n")[0] not in source)
    parts += [f"Already bound: {', '.join(bound[:MAX_BOUND])}."] * bool(bound)
    return "\n".join(parts)


def _unbound(objective: Callable[..., Any]) -> tuple[Callable[..., Any], list[str]]:
    """Split partials into what they call and the arguments that are bound, as text."""
    bound: list[str] = []
    while isinstance(objective, functools.partial):
        try:
            arguments = inspect.signature(objective.func).bind_partial(*objective.args, **objective.keywords).arguments
        except (TypeError, ValueError):
            arguments = objective.keywords
        bound = [*(f"{name}={_value(name, value)}" for name, value in arguments.items()), *bound]
        objective = objective.func
    return objective, bound


def _value(name: str, value: Any) -> str:
    """One bound value: what it is if that is short, else its type, because the rest may be data."""
    if isinstance(value, str):
        return REMOVED if is_secretive(name) else show(redact(value))
    if value is None or isinstance(value, bool):
        return str(value)
    return show(value) if type(value) in (int, float) else f"<{type(value).__name__}>"


def _has_code(inner: Callable[..., Any]) -> bool:
    return inspect.isroutine(inner) or inspect.isclass(inner)


def _source(inner: Callable[..., Any]) -> str:
    """Source of a function or class; of an object that of its class, or of its `__call__` if the class is long."""
    if _has_code(inner):
        return _code(inner)
    whole = _code(type(inner))
    return whole if 0 < len(whole) <= MAX_SOURCE else _code(type(inner).__call__) or whole


def _code(thing: Any) -> str:
    """Source without secrets; empty where there is none, as of what was typed in or is not written in Python."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError, ValueError, SyntaxError, tokenize.TokenError):
        return ""
    return without_secrets(textwrap.dedent(source)).strip("\n")


def _names(inner: Callable[..., Any]) -> str:
    """Names of the parameters; without defaults, which may be anything."""
    try:
        return f"({', '.join(inspect.signature(inner).parameters)})"
    except (TypeError, ValueError):
        return ""


def _fenced(source: str) -> str:
    """Put source between fences that it does not hold itself."""
    fence = "```"
    while fence in source:
        fence += "`"
    return f"{fence}python\n{source}\n{fence}"
