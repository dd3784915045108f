"""A bucket of tokens that are paid for in advance or afterwards; pure, with the time handed in.

The bucket admits an amount when its level is not negative, takes the whole amount, and waits out the debt: the generic
cell rate algorithm (ITU-T I.371), with amounts. So a large amount waits no longer for its turn than a small one, and
those behind it wait for what it took. Any T seconds admit at most `slack + largest amount + pace * T`. The pace is
below the rate, so that this stays within the rate over a whole window, for amounts no larger than recent ones.
"""

import math
from typing import Final

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


class Bucket:
    """At most `per_minute` in any minute; None: no limit. Times are readings of one monotonic clock, in seconds."""

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

    def remember_size(self, amount: float, now: float) -> None:
        """Remember the largest amount sent in the last 5 minutes; the pace is lowered by it."""
        if amount >= self._largest or now - self._largest_at > MEMORY_SECONDS:
            self._largest, self._largest_at = amount, now
            self._set_pace()

    def _refill(self, now: float) -> None:
        self.level = min(self._cap, self.level + self.pace * max(0.0, now - self._at))
        self._at = max(self._at, now)

    def _set_pace(self) -> None:
        self.pace = pace_within(self.rate, self._largest)


def per_second(per_minute: float | None) -> float:
    """A rate per minute as one per second; None is unlimited."""
    return (UNLIMITED_PER_MINUTE if per_minute is None else per_minute) / 60


def pace_within(rate: float, largest: float) -> float:
    """The pace, per second, at which amounts up to `largest` stay within `rate` over a window; at least half of it."""
    burst = largest + rate * (SLACK_SECONDS + JITTER_SECONDS)
    window = SHORT_WINDOW if burst <= CHEAP_SHARE * rate * SHORT_WINDOW else LONG_WINDOW
    return max(rate / 2, rate - burst / window)
