"""Lets requests through one after the other, as fast as the limits allow; lives on the LLM loop.

Invariants (held by tests): requests are let through in the order in which they came; a slot is held for exactly one
attempt; whoever is cancelled while it waits, or before it has sent, leaves everything as it was.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from ...engine.errors import UsageError
from .bucket import Bucket
from .concurrency import Window
from .limits import Limits

UNLIMITED: Final = Limits()
MOMENT: Final = 1e-6
WORTH_SAYING: Final = 10.0  # seconds

logger = logging.getLogger("optuna_llm.samplers.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStatistics:
    """A limiter at one moment: `active` slots of `limit` (None: unbounded), `waiting` requests, and since it was made,
    slots `granted`, refusals by the provider, and seconds for which it paused at the provider's wish."""

    active: int
    limit: int | None
    waiting: int
    granted: int
    throttled: int
    paused_seconds: float


class Slot:
    """The right to send one request. Released exactly once, whatever happens; unused, it costs nothing."""

    def __init__(self, limiter: "Limiter", tokens: float) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._used = False
        self.held = True

    def use(self, tokens: float) -> None:
        """The request is about to be sent, and will take about so many tokens.

        Raises `UsageError` for one that is larger than a whole minute's tokens.
        """
        self._limiter.check(tokens)
        self._used = True
        self._limiter._note(tokens)
        self.settle(tokens)

    def settle(self, tokens: float) -> None:
        """It took so many tokens: the rest is given back, or owed."""
        self._limiter._give_tokens(self._tokens - tokens)
        self._tokens = tokens

    def release(self) -> None:
        """The request is over, or will not be sent."""
        if not self.held:
            return
        self.held = False
        if not self._used:
            self.settle(0)
            self._limiter._give_request()
        self._limiter._released()


class Limiter:
    """All that shares one client waits here, first in, first out."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._window = Window(limits.max_in_flight)
        self._waiting: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = -float("inf")
        self._granted = self._throttled = 0
        self._paused_seconds = 0.0
        self._sharers: dict[Hashable, Callable[[], int]] = {}
        self._applied: tuple[Limits, int] | None = None
        self.limits = limits

    def __repr__(self) -> str:
        return f"Limiter({self.limits}, {self.statistics()})"

    def statistics(self) -> LimiterStatistics:
        """Where it stands."""
        return LimiterStatistics(
            active=self._window.active,
            limit=self._window.limit,
            waiting=len(self._waiting),
            granted=self._granted,
            throttled=self._throttled,
            paused_seconds=self._paused_seconds,
        )

    def set_limits(self, limits: Limits) -> None:
        """Change the limits, from the next request on; any thread may."""
        self.limits = limits

    def share(self, study: Hashable, processes: Callable[[], int]) -> None:
        """`processes()` send for a study: each takes its part of the limits, asked for at each request.

        Of several studies the one with the most processes counts; any thread may call this.
        """
        self._sharers[study] = processes

    @property
    def sharers(self) -> int:
        """How many processes divide the limits."""
        return max((1, *(processes() for processes in tuple(self._sharers.values()))))

    async def acquire(self, tokens: float = 0.0) -> Slot:
        """Wait for the turn to send a request of about so many tokens.

        Raises `UsageError` for one that is larger than a whole minute's tokens.
        """
        self._start()
        self.check(tokens)
        waiter = _Waiter(tokens, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

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
        self._window.throttled(self._now())
        if retry_after and retry_after >= WORTH_SAYING:
            logger.warning("The provider refused a request: nothing more is sent for %.0f s", retry_after)
        self.pause(retry_after or 0.0)

    def succeeded(self) -> None:
        """A reply came."""
        self._window.succeeded()
        self._admit()

    def pause(self, seconds: float) -> None:
        """Let nothing through for so many seconds; a shorter pause does not end a longer one."""
        now = self._now()
        until = now + seconds
        if until > max(now, self._paused_until):
            self._paused_seconds += until - max(now, self._paused_until)
            self._paused_until = until

    # -- inside: everything below is synchronous

    def _start(self) -> None:
        """Begin on the running loop; on a new one (after a fork) nothing is in flight or waits."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._waiting.clear()
            self._timer = self._requests = self._tokens = self._applied = None
            self._window.active = 0
            self._paused_until = -float("inf")
        wanted = (self.limits, self.sharers)
        if self._applied != wanted:
            self._applied = wanted
            most = self.limits.max_in_flight
            self._window.set_most(None if most is None else max(1, most // self.sharers))
            self._requests = self._bucket(self._requests, self.limits.requests_per_minute)
            self._tokens = self._bucket(self._tokens, self.limits.tokens_per_minute)

    def _bucket(self, bucket: Bucket | None, per_minute: float | None) -> Bucket | None:
        if per_minute is None:
            return None
        if bucket is None:
            return Bucket(per_minute / self.sharers, now=self._now())
        bucket.set_rate(per_minute / self.sharers)
        return bucket

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    def _admit(self) -> None:
        """Let through all whose turn it is; set a timer for the next."""
        while self._waiting and not self._window.full:
            now = self._now()
            delay = self._delay(now)
            if delay > MOMENT:
                self._set_timer(delay)
                return
            self._grant(self._waiting.popleft(), now)

    def _delay(self, now: float) -> float:
        buckets = [bucket.wait(now) for bucket in (self._requests, self._tokens) if bucket is not None]
        return max(self._paused_until - now, *buckets, 0.0)

    def _grant(self, waiter: "_Waiter", now: float) -> None:
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(waiter.tokens, now)
        self._window.active += 1
        self._granted += 1
        waiter.slot.set_result(Slot(self, waiter.tokens))

    def _forget(self, waiter: "_Waiter") -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif not waiter.slot.cancelled():  # granted at the moment at which it was cancelled
            waiter.slot.result().release()
        self._admit()

    def _set_timer(self, delay: float) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._admit)

    def _note(self, tokens: float) -> None:
        if self._requests is not None:
            self._requests.note(1, self._now())
        if self._tokens is not None:
            self._tokens.note(tokens, self._now())

    def _give_tokens(self, tokens: float) -> None:
        if self._tokens is not None and tokens:
            self._tokens.give(tokens, self._now())
            self._admit()  # the next may go earlier than its timer says, or later

    def _give_request(self) -> None:
        self._granted -= 1
        if self._requests is not None:
            self._requests.give(1, self._now())

    def _released(self) -> None:
        self._window.active = max(0, self._window.active - 1)
        self._admit()


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: float
    slot: "asyncio.Future[Slot]"
