"""What users pass to the sampler, checked before anything runs."""

from collections.abc import Mapping
from typing import TypeVar

from ..engine.errors import UsageError

T = TypeVar("T")


def text(name: str, value: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a string, not {value!r}")
    return value


def meanings(parameters: Mapping[str, str] | None) -> Mapping[str, str]:
    """Names and what they mean; none by default."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping) or not all(isinstance(v, str) for kv in parameters.items() for v in kv):
        raise UsageError(f"parameters must map names to one-line meanings, not {parameters!r}")
    return dict(parameters)


def given(name: str, value: T | None, kind: type[T]) -> T | None:
    """A `kind`, or None."""
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value
