"""Lets requests through one after the other, as fast as the limits allow; lives on the LLM loop.

Invariants (held by tests): requests are let through in the order in which they came; a slot is held for exactly one
attempt; whoever is cancelled while it waits, or before it has sent, leaves everything as it was.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

from ...engine.errors import UsageError
from ...engine.logs import counted, get_logger
from ...engine.study.state import Sharing
from .concurrency import ConcurrencyLimit
from .limits import Limits
from .living import Living
from .pace import Bucket, RequestPace
from .pauses import Pauses

# Shorter delays are rounding errors of the clock's readings: a timer for them would fire at the same reading again.
SHORTEST_DELAY: Final = 1e-6

# The user hears of pauses from this length on: shorter ones are everyday business of a busy provider.
LOGGED_PAUSE_SECONDS: Final = 10.0

logger = get_logger("optuna_llm.samplers.client")


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


async def nothing_to_prepare() -> None:
    """For requests that can leave as soon as they may."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody in the queue; `seen` refusals had come before. `told`: the user knows what it waits for."""

    tokens: float
    prepare: Callable[[], Awaitable[None]]
    patience: float
    seen: int
    told: bool = False


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
        """The request took so many tokens: the rest is given back, or owed, up to a minute's worth.

        Providers count by the minute: what exceeds one would be paid for longer than they remember it.
        """
        tokens = min(tokens, max(self._tokens, self._limiter.tokens.rate * 60))
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
            limiter.succeeded()
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
        self._sharing: Living[Sharing] = Living()
        self.concurrency = ConcurrencyLimit(self.limits.max_in_flight)
        self.granted = self._throttled = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        """Start with nothing in flight, and nobody who waits."""
        self._gate = asyncio.Lock()  # held by the first in the queue, which alone waits for the limits
        self._queue: deque[_Waiter] = deque()
        self._wait: asyncio.Timeout | None = None  # what the first in the queue waits in
        self.pace = RequestPace(None)
        self.tokens = Bucket(None, now=self.now())
        self._applied: tuple[Limits, int] | None = None
        self.concurrency.active = 0
        self.pauses = Pauses()

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
            paused_seconds=self.pauses.seconds,
        )

    def now(self) -> float:
        """The time of the loop that it lives on, in seconds."""
        return 0.0 if self._loop is None else self._loop.time()

    def share(self, study: Hashable, sharing: Sharing) -> None:
        """Divide the limits by the processes that ask for a study, looked up at each request; any thread may.

        Of several studies, the one with the most processes counts, for as long as somebody else keeps its `sharing`.
        """
        self._sharing.add(study, sharing)

    @property
    def limited(self) -> bool:
        """Whether there is anything to divide."""
        return self.limits != Limits()

    @property
    def processes(self) -> int:
        """How many processes divide the limits."""
        return max([1, *(sharing.asking for sharing in self._sharing)])

    async def acquire(
        self,
        tokens: float = 0.0,
        *,
        prepare: Callable[[], Awaitable[None]] = nothing_to_prepare,
        patience: float = math.inf,
    ) -> Slot:
        """Wait for the turn to send a request of about so many tokens.

        `prepare()` is awaited each time before the rates are looked at: what takes time between here and the provider
        is done before the request counts. `patience` is how long a pause after a refusal may be, in seconds.

        Raises `UsageError` for a request that is larger than a whole minute's tokens, `ThrottledError` if another one
        is refused meanwhile for longer than `patience`, and what `prepare` raises.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the first use, or the first after a fork
            self._loop = loop
            self._begin()
        self.check(tokens)
        waiter = _Waiter(tokens=tokens, prepare=prepare, patience=patience, seen=self.pauses.refused)
        queue = self._queue
        queue.append(waiter)
        try:
            async with self._gate:
                return await self._grant(waiter)
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
        """The provider refused a request: fewer at once, and none before `retry_after` seconds have passed.

        Who came before and would not wait so long is told so; who comes later asks for itself, see `Pauses`.
        """
        self._throttled += 1
        before = self.concurrency.limit
        self.concurrency.refused(self.now())
        self._say_change(before)
        if retry_after:
            if retry_after >= LOGGED_PAUSE_SECONDS:
                logger.warning("The provider refused a request, and wants no other for %.0f s", retry_after)
                for waiter in self._queue:
                    waiter.told = True
            self.pauses.refuse(retry_after, self.now())
        self.look_again()

    def succeeded(self) -> None:
        """A request was answered: more may be in flight before long."""
        before = self.concurrency.limit
        self.concurrency.succeeded()
        self._say_change(before)

    def _say_change(self, before: int | None) -> None:
        now = self.concurrency.limit
        if now != before:
            logger.info("From now on %s may be in flight; %s before", _at_most(now), _at_most(before))

    def pause(self, seconds: float) -> None:
        """Let nothing through for so many seconds; a shorter pause does not end a longer one."""
        self.pauses.rest(seconds, self.now())
        self.look_again()

    def look_again(self) -> None:
        """Have the first in the queue begin anew: something that it waits for has changed."""
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(self.now())

    async def _grant(self, first: _Waiter) -> Slot:
        """Wait, as the first in the queue, until a request may be sent."""
        acquired = None
        while acquired is None:
            await first.prepare()
            await self._apply_limits()
            acquired = await self._wait_once(first)
        self.tokens.take(first.tokens, acquired)
        self.concurrency.enter()
        self.granted += 1
        return Slot(self, first.tokens, acquired)

    async def _wait_once(self, first: _Waiter) -> float | None:
        """The time at which the turn came; None if something has changed, or a delay is over."""
        delay = self._delay(first)
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

    def _delay(self, first: _Waiter) -> float | None:
        """Seconds before the next request may ask for its turn; None: until something changes.

        Raises `ThrottledError` if it has to wait for longer than it would.
        """
        pause = self.pauses.wait(self.now(), patience=first.patience, seen=first.seen)
        if pause >= LOGGED_PAUSE_SECONDS and not first.told:
            first.told = True
            logger.warning("Waiting %.0f s for the provider, which wants nothing sent until then", pause)
        if self.concurrency.full:
            return None
        delay = max(pause, self.tokens.wait(self.now()))
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


def _at_most(limit: int | None) -> str:
    return "any number of requests" if limit is None else f"at most {counted(limit, 'request')}"
