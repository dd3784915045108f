"""A rate that is paid for in advance or afterwards: one pure bucket, for requests and for tokens.

It admits one when its level is not negative, takes the whole amount, and waits out the debt: the generic cell rate
algorithm (ITU-T I.371), with amounts. So a large amount waits no longer for its turn than a small one, and pays by
keeping those behind it waiting. Taking within any T seconds is at most `slack + largest amount + pace * T`; the pace
is chosen below the rate so that this stays within the rate over a whole window, for amounts no larger than those of
the last minutes.
"""

from typing import Final

SLACK_SECONDS: Final = 0.05
"""How late a timer may fire without anything of the rate being lost."""

JITTER_SECONDS: Final = 0.15
"""How much less evenly requests arrive than they are sent: connections are opened, threads wait for each other."""

SHORT_WINDOW: Final = 10.0
LONG_WINDOW: Final = 60.0
CHEAP: Final = 0.04
"""The shorter window is kept to as well where that costs less than this share of the rate."""

MEMORY_SECONDS: Final = 300.0
"""How long the largest amount sets the pace."""


class Bucket:
    """At most `per_minute` in any minute. All times are readings of one monotonic clock, in seconds."""

    def __init__(self, per_minute: float, *, now: float) -> None:
        self._largest = 0.0
        self._largest_at = now
        self._at = now
        self.level = float("inf")  # cut to what the rate allows
        self.set_rate(per_minute)

    def __repr__(self) -> str:
        return f"Bucket({self.rate * 60:g} per minute, level={self.level:.3g}, pace={self.pace * 60:g} per minute)"

    def set_rate(self, per_minute: float) -> None:
        """Change the rate; a debt stays."""
        self.rate = per_minute / 60
        self._cap = self.rate * SLACK_SECONDS
        self.level = min(self.level, self._cap)
        self._set_pace()

    def wait(self, now: float) -> float:
        """Seconds until the next amount, whatever it is, may be taken."""
        self._flow(now)
        return max(0.0, -self.level / self.pace)

    def take(self, amount: float, now: float) -> None:
        """Pay `amount`, at once or as a debt."""
        self._flow(now)
        self.level -= amount

    def note(self, amount: float, now: float) -> None:
        """An amount of this size is really sent: the pace allows for it."""
        if amount >= self._largest or now - self._largest_at > MEMORY_SECONDS:
            self._largest, self._largest_at = amount, now
            self._set_pace()

    def give(self, amount: float, now: float) -> None:
        """Return what was not needed; a negative amount is owed."""
        self._flow(now)
        self.level = min(self._cap, self.level + amount)

    def _flow(self, now: float) -> None:
        self.level = min(self._cap, self.level + self.pace * max(0.0, now - self._at))
        self._at = max(self._at, now)

    def _set_pace(self) -> None:
        self.pace = paced(self.rate, self._cap + self._largest + self.rate * JITTER_SECONDS)


def paced(rate: float, lump: float) -> float:
    """The pace, per second, at which lumps of that size keep within `rate` over a window; at least half the rate."""
    window = SHORT_WINDOW if lump <= CHEAP * rate * SHORT_WINDOW else LONG_WINDOW
    return max(rate / 2, rate - lump / window)
