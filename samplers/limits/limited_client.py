"""A client within its limits: each attempt waits for a slot, and holds it for as long as the attempt lasts."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..client.errors import ThrottledError
from ..client.protocol import Client, Reply, Request
from .limiter import Limiter, Slot
from .quota_headers import pause_wanted
from .token_estimate import Estimator


class LimitedClient:
    """Sends the requests of one ask through `client` when `limiter` says so, and tells it what came of them."""

    def __init__(self, client: Client, limiter: Limiter, estimator: Estimator) -> None:
        self.client = client
        self.limiter = limiter
        self._estimator = estimator
        self._slot: Slot | None = None  # acquired ahead of its request

    def __repr__(self) -> str:
        return f"LimitedClient({self.client!r}, {self.limiter!r})"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a slot before the first request is written, so that its prompt is as fresh as can be.

        If the block ends without a request, the slot is given back.
        """
        most = self.limiter.limits.tokens_per_minute or math.inf
        self._slot = slot = await self.limiter.acquire(min(self._estimator.typical(), most))
        try:
            yield
        finally:
            self._slot = None
            slot.release()

    async def complete(self, request: Request) -> Reply:
        tokens = self._estimator.estimate(request)
        slot = self._slot if self._slot is not None and self._slot.held else await self.limiter.acquire(tokens)
        try:
            slot.use(tokens)
            reply = await self.client.complete(request)
        except ThrottledError as error:
            self.limiter.throttled(error.retry_after)
            raise
        finally:
            slot.release()
        self._learn(request, reply, slot)
        return reply

    def _learn(self, request: Request, reply: Reply, slot: Slot) -> None:
        self.limiter.succeeded()
        used = 0
        if reply.usage is not None:
            used = reply.usage.prompt_tokens + reply.usage.completion_tokens
            self._estimator.learn(request, reply.usage)
            slot.correct(used)
        if reply.quota:
            self.limiter.pause(pause_wanted(reply.quota, used))

    async def aclose(self) -> None:
        await self.client.aclose()
