"""A model server that counts what it is sent, and refuses what exceeds its limit."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from fault_server import FaultServer, Received, Scripted, completion, failure

WINDOW = 10.0
LATENCY = 0.5


class Counting(FaultServer):
    """Allows so much in any ten seconds, by arrivals; refuses what is more, and counts it as a violation."""

    def __init__(self, allowed: float, cost: Callable[[int], float]) -> None:
        super().__init__()
        self.arrivals: list[tuple[float, float]] = []
        self.violations = 0
        self.over = False
        self._allowed = allowed
        self._cost = cost
        self._recent: deque[tuple[float, float]] = deque()

    def answer(self, request: Received) -> Scripted:
        now, tokens = time.monotonic(), 200 + len(self.arrivals) % 60
        if self.over:
            return completion()
        cost = self._cost(tokens)
        while self._recent and self._recent[0][0] <= now - WINDOW:
            self._recent.popleft()
        if sum(amount for _, amount in self._recent) + cost > self._allowed:
            self.violations += 1
            return failure(429)
        self._recent.append((now, cost))
        self.arrivals.append((now, cost))
        usage = {"prompt_tokens": tokens - 20, "completion_tokens": 20, "total_tokens": tokens}
        return replace(completion(usage=usage), delay=LATENCY)

    def used(self) -> float:
        """The share of the allowed rate from the first second on, over ten seconds."""
        first = self.arrivals[0][0] + 1.0
        return sum(cost for at, cost in self.arrivals if first <= at < first + WINDOW) / self._allowed
