"""A key that shows itself to nobody but the request it is for."""

import pickle
from collections.abc import Callable
from typing import Any

from .errors import AuthenticationError


class Secret:
    """A key, or a function that gives it. Not shown, and not pickled or copied; a function that pickles is."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Callable[[], str] | None) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(None)" if self._value is None else "Secret('***')"

    def __bool__(self) -> bool:
        return self._value is not None

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value if _travels(self._value) else None,)

    def reveal(self) -> str | None:
        """The key. Raises `AuthenticationError` if its function fails, or gives none; it does not say what it gave."""
        if self._value is None or isinstance(self._value, str):
            return self._value
        try:
            value = self._value()
        except Exception as error:
            raise AuthenticationError(f"the function given as api_key raised {type(error).__name__}") from None
        if not isinstance(value, str) or not value:
            raise AuthenticationError(f"the function given as api_key returned {type(value).__name__}, not a key")
        return value


def _travels(value: object) -> bool:
    if value is None or isinstance(value, str):
        return False
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
