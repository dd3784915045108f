"""Requests per minute, paced by aiolimiter's leaky bucket; lives on the LLM loop."""

import asyncio
import math

from aiolimiter import AsyncLimiter

from .bucket import SLACK_SECONDS, pace_within, per_second


class RequestPace:
    """Lets requests through evenly, at most `per_minute` of them in any minute; None: no limit.

    Only one request may wait in `acquire`: an `AsyncLimiter` keeps no order. A request that was acquired and not sent
    is given back, and the next one pays what has leaked out of the bucket since: an `AsyncLimiter` refunds nothing.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._since = self._returned = -math.inf
        self._begin(per_minute)

    def __repr__(self) -> str:
        return f"RequestPace({self.per_minute} per minute, paced at {self._pace * 60:g})"

    async def set_rate(self, per_minute: float | None) -> None:
        """Change the rate; the next request waits at the new rate if it had to wait at the old one."""
        if per_minute == self.per_minute:
            return
        in_debt = not self._limiter.has_capacity()
        self._since = asyncio.get_running_loop().time()
        self._begin(per_minute)
        if in_debt:  # else every change of the rate would let one request through at once
            await self._limiter.acquire()

    async def acquire(self) -> float:
        """Wait until one request may be sent; returns that time. Being cancelled meanwhile costs nothing."""
        now = asyncio.get_running_loop().time
        await self._limiter.acquire(min(1.0, (now() - self._returned) * self._pace))
        self._returned = -math.inf
        return now()

    def give_back(self, acquired: float) -> None:
        """Return a request that was acquired at that time and not sent."""
        if acquired >= self._since:  # else it was paid at another rate
            self._returned = max(self._returned, acquired)

    def _begin(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        rate = per_second(per_minute)
        self._pace = pace_within(rate, 1)
        burst = 1 + rate * SLACK_SECONDS  # one request, and those that a late timer held up
        self._limiter = AsyncLimiter(burst, burst / self._pace)
        self._returned = -math.inf
