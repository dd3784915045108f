"""A client within its limits: each attempt waits for a slot, and holds it for as long as the attempt lasts.

How many tokens an attempt will take is estimated: generously at first, then from what the model's replies took.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from ..client.errors import ThrottledError
from ..client.headers import pause_wanted
from ..client.protocol import Client, Reply, Request, Usage
from .claims import within_reason
from .limiter import Limiter, Slot, nothing_to_prepare

# Prose takes about a quarter of a token for each character; tables of numbers take more.
TOKENS_PER_CHARACTER: Final = 0.4

# Characters that a property adds to the schema as it is sent: its name, type, bounds and description.
CHARACTERS_PER_PROPERTY: Final = 120

# Tokens of a request that is not written yet, before any reply; corrected before the request is sent.
TOKENS_AT_FIRST: Final = 2000

# So many replies are remembered: enough for the largest of some waves of workers, few enough to follow the history.
REPLIES_REMEMBERED: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    """What one request took; `ratio`: prompt tokens per character."""

    ratio: float
    completion: int
    total: int


class Estimator:
    """Estimates high: tokens that were not needed can be given back, a request that was sent cannot."""

    def __init__(self) -> None:
        self._recent: deque[_Spent] = deque(maxlen=REPLIES_REMEMBERED)

    def estimate(self, request: Request, most: float = math.inf) -> int:
        """Prompt and completion tokens of one request.

        What replies say that they took makes no request larger than `most`: only its own size can.
        """
        if not self._recent:
            return round(_size(request) * TOKENS_PER_CHARACTER) + request.max_tokens // 2
        ratio = max(one.ratio for one in self._recent)
        completion = max(one.completion for one in self._recent)
        learned = round(_size(request) * ratio) + completion
        return round(min(learned, max(most, _size(request) * TOKENS_PER_CHARACTER)))

    def typical(self) -> int:
        """Tokens of a request that is not written yet: those of the largest remembered one."""
        return max((one.total for one in self._recent), default=TOKENS_AT_FIRST)

    def learn(self, request: Request, usage: Usage) -> None:
        """Remember what a request took."""
        total = usage.prompt_tokens + usage.completion_tokens
        ratio = usage.prompt_tokens / _size(request)
        self._recent.append(_Spent(ratio=ratio, completion=usage.completion_tokens, total=total))


def _size(request: Request) -> int:
    """Characters of the messages and, roughly, of the schema."""
    messages = sum(len(message["content"]) for message in request.messages)
    return messages + CHARACTERS_PER_PROPERTY * (1 + len(request.schema.get("properties", ())))


@dataclass(slots=True, eq=False)
class LimitedClient:
    """Sends the requests of one ask through `client` when `limiter` says so, and tells it what came of them.

    `prepare` and `patience` are those of `Limiter.acquire`.
    """

    client: Client
    limiter: Limiter
    estimator: Estimator
    prepare: Callable[[], Awaitable[None]] = nothing_to_prepare
    patience: float = math.inf
    _ahead: Slot | None = field(default=None, init=False)  # acquired before its request is written

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a slot before the first request is written, so that its prompt is as fresh as can be.

        If the block ends without a request, the slot is given back.
        """
        return _Turn(self)

    async def acquire_ahead(self) -> None:
        """Wait for a slot for a request that is not written yet."""
        self._ahead = await self._acquire(min(self.estimator.typical(), self._most))

    def release_unused(self) -> None:
        """Give back a slot for which no request was written."""
        if (unused := self._take_ahead()) is not None:
            unused.release()

    async def complete(self, request: Request) -> Reply:
        tokens = self.estimator.estimate(request, self._most)
        slot = self._take_ahead() or await self._acquire(tokens)
        try:
            slot.use(tokens)
            reply = await self.client.complete(request)
            slot.answered = True
        except ThrottledError as error:
            self.limiter.throttled(error.retry_after)
            raise
        finally:
            slot.release()
        self._learn(request, reply, slot)
        return reply

    @property
    def _most(self) -> float:
        return self.limiter.limits.tokens_per_minute or math.inf

    async def _acquire(self, tokens: float) -> Slot:
        return await self.limiter.acquire(tokens, prepare=self.prepare, patience=self.patience)

    def _take_ahead(self) -> Slot | None:
        slot, self._ahead = self._ahead, None
        return slot

    def _learn(self, request: Request, reply: Reply, slot: Slot) -> None:
        used = 0
        if reply.usage is not None:
            usage = within_reason(request, reply.usage)
            used = usage.prompt_tokens + usage.completion_tokens
            self.estimator.learn(request, usage)
            slot.correct(used)
        if reply.quota:
            self.limiter.pause(pause_wanted(reply.quota, used))

    async def aclose(self) -> None:
        await self.client.aclose()


class _Turn(AbstractAsyncContextManager[None]):
    """Entered with a slot, and left without one."""

    def __init__(self, client: LimitedClient) -> None:
        self._client = client

    async def __aenter__(self) -> None:
        await self._client.acquire_ahead()

    async def __aexit__(self, *_: object) -> None:
        self._client.release_unused()
