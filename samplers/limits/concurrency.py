"""How many requests may be in flight: learned from what the provider refuses."""

from typing import Final

# Requests that were sent together are refused together: within so many seconds, refusals count once.
COOLDOWN_SECONDS: Final = 5.0


class ConcurrencyLimit:
    """A bound on requests in flight: halved on a refusal, +1 per round of replies. `limit` None: unbounded.

    Additive increase, multiplicative decrease, as in TCP (Jacobson, 1988).
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.limit = most
        self.active = 0
        self._successes = 0
        self._halved_at = -float("inf")

    def __repr__(self) -> str:
        return f"ConcurrencyLimit(active={self.active}, limit={self.limit})"

    @property
    def full(self) -> bool:
        """Whether the next request has to wait for one to end."""
        return self.limit is not None and self.active >= self.limit

    def set_most(self, most: int | None) -> None:
        """Change the configured bound; what was learned stays if it is tighter."""
        learned = self.limit is not None and self.limit != self.most
        self.most = most
        if learned and self.limit is not None and (most is None or self.limit < most):
            return
        self.limit = most

    def refused(self, now: float) -> None:
        """The provider refused a request: halve, at most once per cooldown."""
        if now - self._halved_at < COOLDOWN_SECONDS:
            return
        self._halved_at = now
        self._successes = 0
        used = self.active if self.limit is None else min(self.active, self.limit)
        self.limit = max(1, used // 2)

    def succeeded(self) -> None:
        """A reply came; a limit that is really used grows by one for each round of replies."""
        if self.limit is None or self.active < self.limit or (self.most is not None and self.limit >= self.most):
            return
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit += 1
