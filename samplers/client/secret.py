"""A key that shows itself to nobody but the request it is for, and the names of what is as secret."""

import asyncio
import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...engine.errors import UsageError
from .errors import AuthenticationError

_SECRET_NAME: Final = re.compile(r"(?i)key|secret|password|credential|headers|(?:^|_)token$")


class Secret:
    """A key, or a function that gives it. It is not shown, pickled or copied; a function that pickles is."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Callable[[], str] | None) -> None:
        if not (value is None or isinstance(value, str) or callable(value)) or inspect.iscoroutinefunction(value):
            kind = type(value).__name__
            raise UsageError(f"api_key must be a str or a plain function that returns one, not a {kind}")
        self._value = value or None

    def __repr__(self) -> str:
        return "Secret(None)" if self._value is None else "Secret('***')"

    def __bool__(self) -> bool:
        return self._value is not None

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value if _can_be_pickled(self._value) else None,)

    def reveal(self) -> str | None:
        """The key. Raises `AuthenticationError`, without what was given, if its function fails or gives no key."""
        if self._value is None or isinstance(self._value, str):
            return self._value
        key, problem = _call(self._value)
        if problem:  # outside the handler: what was raised may hold the key
            raise AuthenticationError(f"the function given as api_key {problem}")
        return key

    async def reveal_async(self) -> str | None:
        """As `reveal`, but a function runs in a thread: it may ask a vault."""
        return await asyncio.to_thread(self.reveal) if callable(self._value) else self.reveal()


def is_secret(name: str) -> bool:
    """Whether a setting of this name may hold a secret."""
    return _SECRET_NAME.search(name) is not None


def secrets_in(settings: Mapping[str, Any], key: str | None) -> list[str]:
    """The texts that no message may hold: the key, and all in settings that are named like a secret."""
    named = [value for name, value in settings.items() if is_secret(name)]
    values = [v for value in named for v in (value.values() if isinstance(value, Mapping) else [value])]
    return [value for value in (key, *values) if isinstance(value, str)]


def _call(function: Callable[[], object]) -> tuple[str | None, str]:
    """The key, or what went wrong, in words that cannot hold it."""
    try:
        key = function()
    except Exception as error:
        return None, f"raised {type(error).__name__}"
    if isinstance(key, str) and key:
        return key, ""
    return None, f"returned {'nothing' if key == '' else type(key).__name__}, not a key"


def _can_be_pickled(value: object) -> bool:
    if value is None or isinstance(value, str):
        return False
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
