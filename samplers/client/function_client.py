"""A function as a model: for tests, demos and backends of one's own."""

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

from ...engine.errors import UsageError
from .protocol import Reply, Request

Answer = str | dict[str, Any] | Reply


class FunctionClient:
    """Asks `fn(request)`, which returns the JSON document as a `str` or a `dict`, or a whole `Reply`.

    `fn` may be sync or async and runs on the LLM loop: one that takes time must be async. Its exceptions are raised
    as they are. Processes divide rates by function: one of the same name is the same `model`.
    """

    def __init__(self, fn: Callable[[Request], Answer | Awaitable[Answer]]) -> None:
        if not callable(fn):
            raise UsageError(f"FunctionClient wants a function of a request, got {fn!r}")
        self.fn = fn

    def __repr__(self) -> str:
        name = getattr(self.fn, "__qualname__", None) or type(self.fn).__qualname__  # no address: it goes on record
        return f"FunctionClient({name})"

    @property
    def model(self) -> str:
        """The function's name: another function may well be another model."""
        return repr(self)

    async def complete(self, request: Request) -> Reply:
        answer = self.fn(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return _as_reply(answer, self.fn)

    async def aclose(self) -> None:
        """Nothing is held."""


def _as_reply(answer: object, fn: object) -> Reply:
    match answer:
        case Reply(text=str()):
            return answer
        case str():
            return Reply(text=answer)
        case dict():
            return Reply(text=_dump(answer, fn))
    raise TypeError(f"{fn!r} returned {answer!r}: return the JSON document as a str or a dict, or a Reply")


def _dump(document: dict[str, Any], fn: object) -> str:
    try:
        return json.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{fn!r} returned a dict that is no JSON document: {error} in {document!r}") from error
