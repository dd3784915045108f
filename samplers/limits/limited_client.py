"""A client within its limits: each attempt waits for a slot, and holds it for as long as the attempt lasts."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from ..client.errors import ThrottledError
from ..client.protocol import Client, Reply, Request
from .limiter import Limiter, LimiterStatistics, Slot
from .quota_headers import pause_wanted
from .token_estimate import Estimator

TURN: Final = "turn"


class LimitedClient:
    """Sends through `client` when `limiter` says so, and tells the limiter what came of it.

    A request that comes with a `turn` of this client uses that one for its first attempt.
    """

    def __init__(self, client: Client, limiter: Limiter) -> None:
        self.client = client
        self.limiter = limiter
        self._estimator = Estimator()

    def __repr__(self) -> str:
        return f"LimitedClient({self.client!r}, {self.limiter!r})"

    def statistics(self) -> LimiterStatistics:
        """Where the limiter stands."""
        return self.limiter.statistics()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Slot]:
        """Wait for a slot before the request is written, so that the prompt is as fresh as can be.

        What was not used when the block ends is given back.
        """
        most = self.limiter.limits.tokens_per_minute or math.inf
        slot = await self.limiter.acquire(min(self._estimator.typical(), most))
        try:
            yield slot
        finally:
            slot.release()

    async def complete(self, request: Request) -> Reply:
        tokens = self._estimator.estimate(request)
        given = request.metadata.get(TURN)
        slot = given if isinstance(given, Slot) and given.held else await self.limiter.acquire(tokens)
        try:
            slot.use(tokens)
            reply = await self.client.complete(replace(request, metadata=_without_turn(request)))
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
            slot.settle(used)
        if reply.quota:
            self.limiter.pause(pause_wanted(reply.quota, used))

    async def aclose(self) -> None:
        await self.client.aclose()


def _without_turn(request: Request) -> dict[str, object]:
    return {name: value for name, value in request.metadata.items() if name != TURN}
