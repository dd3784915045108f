"""Lets requests through one after the other, as fast as the limits allow; lives on the LLM loop.

Invariants (held by tests): requests are let through in the order in which they came; a slot is held for exactly one
attempt; whoever is cancelled while it waits, or before it has sent, leaves everything as it was.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from ...engine.errors import UsageError
from ...engine.study.state import Sharing
from .concurrency import ConcurrencyLimit
from .limits import Limits
from .pace import Bucket, RequestPace

# Shorter delays are rounding errors of the clock's readings: a timer for them would fire at the same reading again.
SHORTEST_DELAY: Final = 1e-6

# The user hears of pauses from this length on: shorter ones are everyday business of a busy provider.
LOGGED_PAUSE_SECONDS: Final = 10.0

logger = logging.getLogger("optuna_llm.samplers.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStatistics:
    """A limiter at one moment.

    `active` slots of `limit` (None: unbounded), `waiting` requests, and since it was made: slots `granted`, refusals by
    the provider (`throttled`), and seconds for which the provider had it pause.
    """

    active: int
    limit: int | None
    waiting: int
    granted: int
    throttled: int
    paused_seconds: float


class Slot:
    """The right to send one request. Released exactly once, whatever happens; unused, it costs nothing."""

    def __init__(self, limiter: "Limiter", tokens: float, acquired: float) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._acquired = acquired
        self._used = False
        self.answered = False  # set by who holds it, once the reply is there
        self.held = True

    def use(self, tokens: float) -> None:
        """The request is about to be sent, and will take about so many tokens.

        Raises `UsageError` for one that is larger than a whole minute's tokens.
        """
        limiter = self._limiter
        limiter.check(tokens)
        self._used = True
        limiter.tokens.send(tokens, self._tokens, limiter.now())
        self._tokens = tokens
        limiter.look_again()

    def correct(self, tokens: float) -> None:
        """The request took so many tokens: the rest is given back, or owed."""
        self._limiter.tokens.give_back(self._tokens - tokens, self._limiter.now())
        self._tokens = tokens
        self._limiter.look_again()

    def release(self) -> None:
        """The request is over, or will not be sent."""
        if not self.held:
            return
        self.held = False
        limiter = self._limiter
        if not self._used:
            self.correct(0)
            limiter.granted -= 1
            limiter.pace.give_back(self._acquired)
        if self.answered:
            limiter.concurrency.succeeded()  # before it is free again: a limit grows only while it is used up
        limiter.concurrency.active = max(0, limiter.concurrency.active - 1)  # it may be of a loop before this one
        limiter.look_again()


class Limiter:
    """All that share one client wait here, first in, first out.

    The first in the queue waits for a free place, the end of a pause, the token bucket and the pace of requests, in
    this order; `look_again` has it begin anew when one of them has changed. Any thread may set `limits`: they hold from
    the next request on.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._sharing: dict[Hashable, Sharing] = {}
        self.concurrency = ConcurrencyLimit(self.limits.max_in_flight)
        self.granted = self._throttled = 0
        self._paused_seconds = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        """Start with nothing in flight, and nobody who waits."""
        self._gate = asyncio.Lock()  # held by the first in the queue, which alone waits for the limits
        self._queue: deque[object] = deque()
        self._wait: asyncio.Timeout | None = None  # what the first in the queue waits in
        self.pace = RequestPace(None)
        self.tokens = Bucket(None, now=self.now())
        self._applied: tuple[Limits, int] | None = None
        self.concurrency.active = 0
        self._paused_until = -math.inf

    def __repr__(self) -> str:
        return f"Limiter({self.limits}, {self.statistics()})"

    def statistics(self) -> LimiterStatistics:
        """Where it stands."""
        return LimiterStatistics(
            active=self.concurrency.active,
            limit=self.concurrency.limit,
            waiting=len(self._queue),
            granted=self.granted,
            throttled=self._throttled,
            paused_seconds=self._paused_seconds,
        )

    def now(self) -> float:
        """The time of the loop that it lives on, in seconds."""
        return 0.0 if self._loop is None else self._loop.time()

    def share(self, study: Hashable, sharing: Sharing) -> None:
        """Divide the limits by the processes that ask for a study, looked up at each request; any thread may.

        Of several studies, the one with the most processes counts.
        """
        self._sharing[study] = sharing

    @property
    def processes(self) -> int:
        """How many processes divide the limits."""
        return max([1, *[sharing.asking for sharing in tuple(self._sharing.values())]])

    async def acquire(self, tokens: float = 0.0) -> Slot:
        """Wait for the turn to send a request of about so many tokens.

        Raises `UsageError` for one that is larger than a whole minute's tokens.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the first use, or the first after a fork
            self._loop = loop
            self._begin()
        self.check(tokens)
        queue, waiter = self._queue, object()
        queue.append(waiter)
        try:
            async with self._gate:
                return await self._grant(tokens)
        finally:
            queue.remove(waiter)

    def check(self, tokens: float) -> None:
        """Refuse what no waiting would make possible."""
        most = self.limits.tokens_per_minute
        if most is not None and tokens > most:
            raise UsageError(
                f"a request of about {tokens:.0f} tokens can never be sent within tokens_per_minute={most:g}: "
                "raise it, or show less history (ContextPolicy)"
            )

    def throttled(self, retry_after: float | None = None) -> None:
        """The provider refused a request: fewer at once, and none before `retry_after` seconds have passed."""
        self._throttled += 1
        self.concurrency.refused(self.now())
        if retry_after and retry_after >= LOGGED_PAUSE_SECONDS:
            logger.warning("The provider refused a request: nothing more is sent for %.0f s", retry_after)
        self.pause(retry_after or 0.0)

    def pause(self, seconds: float) -> None:
        """Let nothing through for so many seconds; a shorter pause does not end a longer one."""
        earliest = max(self.now(), self._paused_until)
        until = self.now() + seconds
        if until > earliest:
            self._paused_seconds += until - earliest
            self._paused_until = until
        self.look_again()

    def look_again(self) -> None:
        """Have the first in the queue begin anew: something that it waits for has changed."""
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(self.now())

    async def _grant(self, tokens: float) -> Slot:
        """Wait, as the first in the queue, until a request may be sent."""
        acquired = None
        while acquired is None:
            await self._apply_limits()
            acquired = await self._wait_once()
        self.tokens.take(tokens, acquired)
        self.concurrency.active += 1
        self.granted += 1
        return Slot(self, tokens, acquired)

    async def _wait_once(self) -> float | None:
        """The time at which the turn came; None if something has changed, or a delay is over."""
        delay = self._delay()
        try:
            async with asyncio.timeout(delay or None) as self._wait:
                if delay == 0:
                    return await self.pace.acquire()
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            pass
        finally:
            self._wait = None
        return None

    def _delay(self) -> float | None:
        """Seconds before the next request may ask for its turn; None: until something changes."""
        if self.concurrency.full:
            return None
        delay = max(self._paused_until - self.now(), self.tokens.wait(self.now()))
        return delay if delay > SHORTEST_DELAY else 0.0

    async def _apply_limits(self) -> None:
        limits, processes = self.limits, self.processes
        if self._applied == (limits, processes):
            return
        self._applied = limits, processes
        most, requests, tokens = limits.max_in_flight, limits.requests_per_minute, limits.tokens_per_minute
        self.concurrency.set_most(None if most is None else max(1, most // processes))
        self.tokens.set_rate(None if tokens is None else tokens / processes)
        await self.pace.set_rate(None if requests is None else requests / processes)
