"""How well a bound on requests in flight finds what a provider takes, simulated: no model, no clock.

python -m benchmarks.throughput.window

A provider takes at most N requests at once, and refuses others after a tenth of a second; W workers ask again and
again, with lognormal latencies. Reported are the share of N that is used, refusals for 100 replies, and how long it
takes until 0.9 of N are used after N has fallen and risen again. Beside our rule stand the one that it replaced
(halve, at most once in 5 s; one more for each round of replies), and one as other tools have it (0.8 of the limit, at
most once in 15 s; 5 % more for each round).
"""

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from optuna_llm.samplers.limits.concurrency import ConcurrencyLimit

SECONDS: Final = 600.0
LATENCY: Final = 2.0
SIGMA: Final = 0.5
REFUSED_AFTER: Final = 0.1
RETRIED_WITHIN: Final = 0.5
FALLS, RISES = 200.0, 300.0
RECOVERED: Final = 0.9
SMOOTHED: Final = 4.0  # seconds over which what is in flight is averaged before it counts as recovered

Capacity = Callable[[float], int]


class Rule(Protocol):
    """What decides how many requests may be in flight."""

    active: int

    @property
    def full(self) -> bool: ...
    def enter(self) -> None: ...
    def refused(self, now: float) -> None: ...
    def succeeded(self) -> None: ...


@dataclass(slots=True)
class Sawtooth:
    """Keeps a share of the limit on a refusal, at most once per cooldown; grows by a share, at least 1, per round."""

    kept: float
    cooldown: float
    growth: float
    active: int = 0
    limit: float = math.inf
    cut_at: float = -math.inf
    replies: int = 0

    @property
    def full(self) -> bool:
        return self.active >= self.limit

    def enter(self) -> None:
        self.active += 1

    def refused(self, now: float) -> None:
        self.replies = 0
        if now - self.cut_at >= self.cooldown:
            self.cut_at = now
            self.limit = max(1, int(min(self.limit, self.active) * self.kept))

    def succeeded(self) -> None:
        self.replies += 1
        if self.replies >= self.limit:
            self.replies = 0
            self.limit += max(1, round(self.limit * self.growth))


@dataclass(slots=True)
class Course:
    """What happened: for each span of time how many the provider had at work, and how many it would have taken."""

    workers: int
    replies: int = 0
    refusals: int = 0
    spans: list[tuple[float, float, int, int]] = field(default_factory=list)

    @property
    def used(self) -> float:
        """The share of what the provider takes, or of what the workers ask."""
        could = sum((end - start) * min(self.workers, taken) for start, end, _, taken in self.spans)
        return sum((end - start) * busy for start, end, busy, _ in self.spans) / could

    def recovered(self, since: float) -> float:
        """Seconds after `since` until the provider is at work on 0.9 of what it takes, over some seconds."""
        later = [span for span in self.spans if span[0] >= since]
        for index, (_, end, _, taken) in enumerate(later):
            recent = [span for span in later[: index + 1] if span[1] > end - SMOOTHED]
            busy = sum((stop - start) * at_work for start, stop, at_work, _ in recent)
            if end > since + SMOOTHED and busy >= RECOVERED * min(self.workers, taken) * (end - recent[0][0]):
                return end - since - SMOOTHED
        return math.inf


def simulate(rule: Rule, capacity: Capacity, workers: int, seed: int) -> Course:
    """Run the workers against the provider for ten minutes of simulated time."""
    rng, course, order = random.Random(seed), Course(workers), itertools.count()
    events: list[tuple[float, int, str]] = [(0.0, next(order), "ready")] * workers
    events += [(FALLS, next(order), "change"), (RISES, next(order), "change")]
    heapq.heapify(events)
    now, waiting, busy = 0.0, 0, 0
    while True:
        at, _, kind = heapq.heappop(events)
        course.spans.append((now, min(at, SECONDS), busy, capacity(now)))
        if at > SECONDS:
            return course
        now = at
        waiting += kind in ("ready", "reply")
        if kind == "reply":
            busy, course.replies = busy - 1, course.replies + 1
            rule.succeeded()
            rule.active -= 1
        elif kind == "refusal":
            course.refusals += 1
            rule.refused(now)
            rule.active -= 1
            heapq.heappush(events, (now + RETRIED_WITHIN * rng.random(), next(order), "ready"))
        while waiting and not rule.full:
            waiting -= 1
            rule.enter()
            if busy < capacity(now):
                busy += 1
                latency = LATENCY * math.exp(rng.gauss(0.0, SIGMA) - SIGMA**2 / 2)
                heapq.heappush(events, (now + latency, next(order), "reply"))
            else:
                heapq.heappush(events, (now + REFUSED_AFTER * (1 + rng.random()), next(order), "refusal"))


RULES: Final[dict[str, Callable[[], Rule]]] = {
    "ours": lambda: ConcurrencyLimit(None),
    "halves": lambda: Sawtooth(kept=0.5, cooldown=5.0, growth=0.0),
    "keeps 0.8": lambda: Sawtooth(kept=0.8, cooldown=15.0, growth=0.05),
}
CASES: Final[dict[str, tuple[Capacity, int]]] = {
    "N = 4, W = 64": (lambda _: 4, 64),
    "N = 20, W = 64": (lambda _: 20, 64),
    "N = 20, W = 24": (lambda _: 20, 24),
    "N = 100, W = 128": (lambda _: 100, 128),
    "N = 32, 8 for 100 s, 32; W = 64": (lambda now: 8 if FALLS <= now < RISES else 32, 64),
}


def table(seeds: int = 5) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| provider, workers | rule | share of N used | refusals for 100 replies | back at 0.9 N after, s |"
    yield "|---|---|---|---|---|"
    for case, (capacity, workers) in CASES.items():
        for name, rule in RULES.items():
            courses = [simulate(rule(), capacity, workers, seed) for seed in range(seeds)]
            used = statistics.mean(course.used for course in courses)
            refused = statistics.mean(100 * course.refusals / course.replies for course in courses)
            back = statistics.median(course.recovered(RISES) for course in courses) if "8 for" in case else None
            yield f"| {case} | {name} | {used:.3f} | {refused:.1f} | {'' if back is None else f'{back:.0f}'} |"


if __name__ == "__main__":
    for line in table():
        print(line)
