"""How fast: requests and tokens per minute; lives on the LLM loop.

Any T seconds admit at most `slack + largest amount + pace * T`. The pace is below the rate, so that this stays within
the rate over a whole window, for amounts no larger than recent ones.
"""

import asyncio
import math
from typing import Final

from aiolimiter import AsyncLimiter

# A timer may fire so late without anything of the rate being lost.
SLACK_SECONDS: Final = 0.05

# Requests arrive less evenly than they are sent, by so much: connections are opened, threads wait for each other.
JITTER_SECONDS: Final = 0.15

# Providers say "per minute" and often count in shorter windows. Ten seconds are kept to as well, where the lower pace
# costs less than this share of the rate.
SHORT_WINDOW: Final = 10.0
LONG_WINDOW: Final = 60.0
CHEAP_SHARE: Final = 0.04

# The largest amount of the last five minutes sets the pace: prompts grow slowly, and one odd request is forgotten.
MEMORY_SECONDS: Final = 300.0

# Stands for "no limit". A number, and not infinity, because levels are added and divided.
UNLIMITED_PER_MINUTE: Final = 1e18


def per_second(per_minute: float | None) -> float:
    """A rate per minute as one per second; None is unlimited."""
    return (UNLIMITED_PER_MINUTE if per_minute is None else per_minute) / 60


def pace_within(rate: float, largest: float) -> float:
    """The pace, per second, at which amounts up to `largest` stay within `rate` over a window; at least half of it."""
    burst = largest + rate * (SLACK_SECONDS + JITTER_SECONDS)
    window = SHORT_WINDOW if burst <= CHEAP_SHARE * rate * SHORT_WINDOW else LONG_WINDOW
    return max(rate / 2, rate - burst / window)


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


class Bucket:
    """At most `per_minute` tokens in any minute, paid for in advance or afterwards; None: no limit.

    It admits an amount when its level is not negative, takes the whole amount, and waits out the debt: the generic cell
    rate algorithm (ITU-T I.371), with amounts. So a large amount waits no longer for its turn than a small one, and
    those behind it wait for what it took. Pure: times are readings of one monotonic clock, in seconds.
    """

    def __init__(self, per_minute: float | None, *, now: float) -> None:
        self._largest = 0.0
        self._largest_at = now
        self._at = now
        self.level = math.inf  # `set_rate` cuts it to what the rate allows
        self.set_rate(per_minute)

    def __repr__(self) -> str:
        return f"Bucket({self.rate * 60:g} per minute, level={self.level:.3g}, pace={self.pace * 60:g} per minute)"

    def set_rate(self, per_minute: float | None) -> None:
        """Change the rate; a debt stays."""
        self.rate = per_second(per_minute)
        self._cap = self.rate * SLACK_SECONDS
        self.level = min(self.level, self._cap)
        self._set_pace()

    def wait(self, now: float) -> float:
        """Seconds until the next amount, whatever it is, may be taken."""
        self._refill(now)
        return max(0.0, -self.level / self.pace)

    def take(self, amount: float, now: float) -> None:
        """Pay `amount`, at once or as a debt."""
        self._refill(now)
        self.level -= amount

    def give_back(self, amount: float, now: float) -> None:
        """Return what was not needed; a negative amount is owed."""
        self._refill(now)
        self.level = min(self._cap, self.level + amount)

    def send(self, amount: float, taken: float, now: float) -> None:
        """Replace what was taken for an amount by what is sent; the largest of the last 5 minutes lowers the pace."""
        if amount >= self._largest or now - self._largest_at > MEMORY_SECONDS:
            self._largest, self._largest_at = amount, now
            self._set_pace()
        self.give_back(taken - amount, now)

    def _refill(self, now: float) -> None:
        self.level = min(self._cap, self.level + self.pace * max(0.0, now - self._at))
        self._at = max(self._at, now)

    def _set_pace(self) -> None:
        self.pace = pace_within(self.rate, self._largest)
