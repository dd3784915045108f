"""Ask again when the transport failed, and only then."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from ...engine.errors import UsageError
from .errors import ClientError, DeadlineExceededError
from .protocol import Client, Reply, Request

BASE_SECONDS: Final = 0.5
CAP_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 120.0
"""A server that wants a longer pause gets it from the caller, who knows what else there is to do."""


def backoff(failures: int, retry_after: float | None, fraction: float) -> float:
    """Seconds to wait before the next attempt, after `failures` of them; `fraction` in [0, 1) is the luck of the draw.

    Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", 2015). What the server asked for is
    waited in full, and the jitter comes on top, so that those throttled together do not return together.
    """
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures - 1, 30))
    return (retry_after or 0.0) + fraction * ceiling


def may_retry(error: ClientError, failures: int, deadlines: int, attempts: int) -> bool:
    """Whether to send again after `failures` failed attempts, of which `deadlines` missed the deadline."""
    patient = (error.retry_after or 0.0) <= LONGEST_WAIT_SECONDS
    return error.transient and patient and failures < attempts and deadlines <= 1


class RetryingClient:
    """Retries the transient errors of `client`, up to `attempts` requests in all; a missed deadline is retried once."""

    def __init__(
        self,
        client: Client,
        *,
        attempts: int = 5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if attempts < 1:
            raise UsageError(f"attempts counts the requests, so it is at least 1, got {attempts!r}")
        self.client = client
        self.attempts = attempts
        self._sleep = sleep
        self._draw = draw

    def __repr__(self) -> str:
        return f"RetryingClient({self.client!r}, attempts={self.attempts})"

    async def complete(self, request: Request) -> Reply:
        failures = deadlines = 0
        while True:
            try:
                return await self.client.complete(request)
            except ClientError as error:
                failures += 1
                deadlines += isinstance(error, DeadlineExceededError)
                if not may_retry(error, failures, deadlines, self.attempts):
                    raise
                delay = backoff(failures, error.retry_after, self._draw())
            await self._sleep(delay)

    async def aclose(self) -> None:
        await self.client.aclose()
