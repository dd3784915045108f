"""Sends a request again when the transport failed, and only then."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ..client.errors import ClientError, DeadlineExceededError
from ..client.protocol import Client, Reply, Request

# The ceiling of the first pause, and of all: most hiccups are over in a second, and an outage is asked after twice a
# minute.
BASE_SECONDS: Final = 0.5
CAP_SECONDS: Final = 30.0

# All pauses of one request together. The run, which may have to stop, should not wait longer without a say.
LONGEST_WAIT_SECONDS: Final = 120.0

# Requests to a place where nothing has ever answered: who waits for it wants to hear of a wrong address soon.
UNREACHED_ATTEMPTS: Final = 3


def backoff(failures: int, retry_after: float | None, fraction: float) -> float:
    """Seconds to wait after so many `failures`; `fraction` is drawn from [0, 1).

    Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", 2015). What the server asked for is
    waited in full, and the jitter comes on top, so that those throttled together do not return together.
    """
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures - 1, 30))
    return (retry_after or 0.0) + fraction * ceiling


@dataclass(slots=True)
class FailedAttempts:
    """The failed attempts of one request, and whether there is another one.

    A server that asks to wait for longer than `patience`, in seconds, is not asked again.
    """

    most: int
    patience: float = LONGEST_WAIT_SECONDS
    failures: int = 0
    deadlines: int = 0
    waited: float = 0.0

    def delay(self, error: ClientError, fraction: float) -> float | None:
        """Seconds to wait before the next attempt; None if there is none."""
        self.failures += 1
        self.deadlines += isinstance(error, DeadlineExceededError)
        if not error.transient or self.failures >= self.most or self.deadlines > 1:
            return None
        if error.unreached and (self.deadlines or self.failures >= UNREACHED_ATTEMPTS):
            return None
        if error.at_once:
            return 0.0
        if (error.retry_after or 0.0) > self.patience:
            return None
        seconds = backoff(self.failures, error.retry_after, fraction)
        self.waited += seconds
        return None if self.waited > LONGEST_WAIT_SECONDS else seconds


@dataclass(slots=True, eq=False)
class RetryingClient:
    """Retries the transient errors of `client`, up to `attempts` requests in all; a missed deadline is retried once."""

    client: Client
    attempts: int = 6
    patience: float = LONGEST_WAIT_SECONDS
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random

    async def complete(self, request: Request) -> Reply:
        failed = FailedAttempts(self.attempts, self.patience)
        while True:
            try:
                return await self.client.complete(request)
            except ClientError as error:
                delay = failed.delay(error, self.draw())
                if delay is None:
                    raise
            if delay:
                await self.sleep(delay)

    async def aclose(self) -> None:
        await self.client.aclose()
