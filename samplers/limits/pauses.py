"""When a provider wants nothing sent, and whom that binds. Pure: times are readings of one monotonic clock, in seconds.

A refusal holds up everybody for as long as they would wait. Who would not wait so long, and was there when it came, is
told so at once; who comes later asks for itself: much may have changed since, and what one run was told is no answer
to the next.
"""

import math
from dataclasses import dataclass

from ..client.errors import ThrottledError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    number: int
    until: float


class Pauses:
    """The pauses of one limiter. `refused` counts the refusals; whoever comes remembers how many there were."""

    def __init__(self) -> None:
        self.refused = 0
        self.seconds = 0.0  # in all, overlaps counted once
        self._rest_until = -math.inf
        self._refusals: list[_Refusal] = []  # those that are not over

    @property
    def until(self) -> float:
        """When the last of them ends."""
        return max([self._rest_until, *(refusal.until for refusal in self._refusals)])

    def rest(self, seconds: float, now: float) -> None:
        """Let nothing through for so many seconds, whoever asks; a shorter pause does not end a longer one."""
        self._count(now, now + seconds)
        self._rest_until = max(self._rest_until, now + seconds)

    def refuse(self, seconds: float, now: float) -> None:
        """The provider refused a request, and wants none for so many seconds."""
        self._count(now, now + seconds)
        self.refused += 1
        self._refusals = [old for old in self._refusals if old.until > now]
        self._refusals.append(_Refusal(number=self.refused, until=now + seconds))

    def wait(self, now: float, *, patience: float = math.inf, seen: int = 0) -> float:
        """Seconds that somebody has to wait who came after `seen` refusals, and would wait for one as long as this.

        Raises `ThrottledError` if a refusal that came since asks for more.
        """
        waits = [self._rest_until - now]
        for refusal in self._refusals:
            left = refusal.until - now
            if left <= patience:
                waits.append(left)
            elif refusal.number > seen:
                raise ThrottledError(
                    f"the provider refused another request, and wants none sent for {left:.0f} s", retry_after=left
                )
        return max(0.0, *waits)

    def _count(self, now: float, until: float) -> None:
        self.seconds += max(0.0, until - max(now, self.until))
