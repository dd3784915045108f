"""A recording in place of a model: the same requests get the same replies, in the order in which they were recorded."""

import asyncio
import bisect
import os
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..client.capabilities import Capabilities
from ..client.errors import ClientError
from ..client.prices import Prices
from ..client.protocol import Reply, Request
from .exchange_records import (
    ERROR_DETAILS,
    ERROR_KINDS,
    Record,
    cleaned,
    request_key,
    request_record,
)
from .recording_reader import Ending, Exchange, read_recording

# A reply waits so long for requests that had come before it in the recording, and may not come in this run.
WAIT_SECONDS: Final = 30.0

Released: TypeAlias = asyncio.Future[Reply | Record]

# How much of two requests an error shows: enough to recognize the place, from a little before the difference on.
SHOWN_CHARACTERS: Final = 90
LEADING_CHARACTERS: Final = 30


class ReplayClient:
    """Answers from the recording at `path`, which a `RecordingClient` wrote; needs no network.

    A request gets the reply or error of the first unused recorded request that equals it in messages, schema,
    max_tokens and seed. Another request is a `ClientError` that says where it differs from the nearest. Replies come in
    the recorded order: each once as many requests have come as had come by then, or after `WAIT_SECONDS`.

    A prompt shows the study as it is when the prompt is made, so a run finds its replies only if its trials end in the
    recorded order. One worker always does with the same objective. With several, the order of what happened within the
    same milliseconds is chance, and a run that goes another way is refused. A request that was cancelled in the
    recording waits to be cancelled.

    All calls must come from one event loop at a time. The file is read here, once, so call this before the event loop
    runs; a file that is no recording is a `UsageError`. A copy starts from the beginning.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._recording = read_recording(self.path)
        self._rewind()

    def _rewind(self) -> None:
        self._unused: dict[str, list[Exchange]] = {}  # by key, in recorded order
        for exchange in self._recording.exchanges:
            self._unused.setdefault(exchange.key, []).append(exchange)
        self._come: set[int] = set()
        self._waiting: dict[Released, Ending] = {}

    def __repr__(self) -> str:
        return f"ReplayClient({self.path.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_recording": self._recording}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rewind()

    @property
    def capabilities(self) -> Capabilities:
        """Schemas as the recorded client took them. A replay asks no model and costs nothing: its rates are its own."""
        return Capabilities(model=repr(self), schema_per_ask=self._recording.schema_per_ask, prices=_free)

    async def complete(self, request: Request) -> Reply:
        exchange = self._take(cleaned(request_record(request)))
        self._come.add(exchange.id)
        try:
            outcome = await self._released(exchange.ending)
        except asyncio.CancelledError:
            if exchange.ending is not None:
                bisect.insort(self._unused[exchange.key], exchange, key=_id_of)
            raise
        return _reply_of(outcome)

    async def _released(self, ending: Ending | None) -> Reply | Record:
        """The outcome, once the requests that came before it in the recording have come, or after `WAIT_SECONDS`."""
        loop = asyncio.get_running_loop()
        released: Released = loop.create_future()
        loop.call_soon(self._release)  # once this one waits too, so that all resume in recorded order
        if ending is None:
            return await released  # until it is cancelled
        self._waiting[released] = ending
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await released
        except TimeoutError:
            return ending.outcome
        finally:
            del self._waiting[released]

    def _release(self) -> None:
        for released, ending in sorted(self._waiting.items(), key=lambda item: item[1].place):
            if ending.arrivals <= len(self._come) and not released.done():
                released.set_result(ending.outcome)

    def _take(self, request: Record) -> Exchange:
        """The first unused exchange of an equal request."""
        unused = self._unused.get(request_key(request))
        if unused:
            return unused.pop(0)
        raise ClientError(self._unknown(request))

    def _unknown(self, request: Record) -> str:
        left = sorted(chain(*self._unused.values()), key=_id_of)
        name, key = self.path.name, request_key(request)
        if not left:
            n = len(self._recording.exchanges)
            return f"all {n} requests of {name} are used: the run asks more than the recorded one"
        nearest = max(left, key=lambda exchange: _n_common(exchange.key, key))
        used = " (those that equal it are used)" if key in self._unused else ""
        return (
            f"{name} holds no unused request like this one{used}; the nearest is request {nearest.id}: "
            f"{_difference(nearest.key, key)}"
        )

    async def aclose(self) -> None:
        """Nothing is held."""


def _id_of(exchange: Exchange) -> int:
    return exchange.id


async def _free() -> Prices:
    """What recorded replies say that they cost is counted as it was."""
    return Prices(prompt=0.0, completion=0.0)


def _reply_of(outcome: Reply | Record) -> Reply:
    """The reply; an error is raised, under its own class if it is one of ours."""
    if isinstance(outcome, Reply):
        return outcome
    if "retry_after" not in outcome:
        raise ClientError(f"the recorded client raised {outcome['type']}: {outcome['message']}")
    kind = ERROR_KINDS.get(outcome["type"], ClientError)
    raise kind(outcome["message"], **{name: outcome.get(name) for name in ERROR_DETAILS})


def _difference(recorded: str, asked: str) -> str:
    """Where two keys part, and a few words of both."""
    start = max(0, _n_common(recorded, asked) - LEADING_CHARACTERS)
    old, new = (repr(f"...{key[start : start + SHOWN_CHARACTERS]}...") for key in (recorded, asked))
    return f"recorded {old}, asked {new}"


def _n_common(one: str, other: str) -> int:
    """How many characters two keys have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
