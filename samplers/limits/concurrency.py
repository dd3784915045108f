"""How many requests may be in flight: learned from what the provider refuses."""

from typing import Final

# Requests that were sent together are refused together: within so many seconds they are one event, and cut once.
COOLDOWN_SECONDS: Final = 5.0

# Share of what was in flight that a refusal leaves: a provider that refuses one of many takes most of them.
KEPT_SHARE: Final = 0.8

# Rounds of replies just below the level that was refused before it is tried again: each such trial costs a refusal.
PATIENT_ROUNDS: Final = 8


class ConcurrencyLimit:
    """A bound on requests in flight: cut on a refusal, and back soon to just below where that was. None: unbounded.

    It grows after each round of replies in which it was used up: by half of what is missing to the level that was
    refused, and beyond that level by 1, 2, 4 and so on (binary increase: Xu, Harfoush and Rhee, 2004).
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.limit = most
        self.active = 0
        self._refused_level: int | None = None
        self._cut_at = -float("inf")
        self._replies = self._rounds = self._peak = 0  # replies of this round; rounds below the level; most in flight
        self._step = 1

    def __repr__(self) -> str:
        return f"ConcurrencyLimit(active={self.active}, limit={self.limit})"

    @property
    def full(self) -> bool:
        """Whether the next request has to wait for one to end."""
        return self.limit is not None and self.active >= self.limit

    def enter(self) -> None:
        """A request is about to be sent."""
        self.active += 1
        self._peak = max(self._peak, self.active)

    def set_most(self, most: int | None) -> None:
        """Change the configured bound; what was learned stays if it is tighter."""
        learned = self.limit is not None and self.limit != self.most
        self.most = most
        if learned and self.limit is not None and (most is None or self.limit < most):
            return
        self.limit = most

    def refused(self, now: float) -> None:
        """The provider refused one of the active requests: cut, at most once per cooldown.

        Of a burst the provider takes what it does not refuse: the limit follows the requests that are left.
        """
        used = self.active if self.limit is None else min(self.active, self.limit)
        if now - self._cut_at >= COOLDOWN_SECONDS:
            self._cut_at = now
            self._refused_level = used
            self.limit = max(1, int(used * KEPT_SHARE))
        elif self.limit is not None:
            self.limit = max(1, min(self.limit, self.active - 1))
        self._replies = self._rounds = 0
        self._peak, self._step = self.active, 1

    def succeeded(self) -> None:
        """A reply came. A round of them counts if the limit was used up meanwhile: else nothing was learned of it."""
        if self.limit is None or (self.most is not None and self.limit >= self.most):
            return
        self._replies += 1
        if self._replies < self.limit:
            return
        if self._peak >= self.limit:
            grown = self._grown(self.limit)
            self.limit = grown if self.most is None else min(grown, self.most)
        self._replies, self._peak = 0, self.active

    def _grown(self, limit: int) -> int:
        level = self._refused_level
        if level is None:
            self._step *= 2
            return limit + self._step // 2
        if limit < level - 1:
            return limit + max(1, (level - 1 - limit) // 2)
        self._rounds += 1
        if self._rounds <= PATIENT_ROUNDS:
            return limit
        self._refused_level = None  # refused again, it is known again
        return limit + 1
