"""What no engine can beat: the limits of a run, each as the shortest makespan it allows, in seconds."""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run is given to do: `n` trials on `workers` workers; the seconds are means."""

    n: int
    workers: int
    llm_seconds: float
    objective_seconds: float
    prefetch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a trial cannot do without: CPU seconds of its proposal, seconds of plain Optuna's ask and tell."""

    cpu: float
    storage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Requests and tokens per minute, and the tokens of a call."""

    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    tokens_per_call: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The shortest makespan that each limit allows, in seconds; the longest of them decides."""

    schedule: float
    requests: float
    tokens: float
    cpu: float
    storage: float

    @property
    def binding(self) -> str:
        return max(self.__slots__, key=lambda name: getattr(self, name))

    @property
    def best(self) -> float:
        return float(getattr(self, self.binding))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """When objectives began, ascending, and when the last one ended; seconds from the start of the run."""

    begins: tuple[float, ...]
    makespan: float


def coupled(load: Load) -> float:
    """Makespan with constant latencies if a worker waits for its own proposal."""
    return math.ceil(load.n / load.workers) * (load.llm_seconds + load.objective_seconds)


def pipelined(load: Load) -> float:
    """Makespan with constant latencies if every proposal but the first wave's is ready in time."""
    return load.llm_seconds + math.ceil(load.n / load.workers) * load.objective_seconds


def limits(load: Load, costs: Costs, rates: Rates, schedule: float | None = None) -> Limits:
    """All limits of a run; `schedule` replaces the formula where latencies are not constant."""
    formula = pipelined(load) if load.prefetch else coupled(load)
    return Limits(
        schedule=formula if schedule is None else schedule,
        requests=load.n * 60 / rates.requests_per_minute,
        tokens=load.n * rates.tokens_per_call * 60 / rates.tokens_per_minute,
        cpu=load.n * costs.cpu,
        storage=load.n * costs.storage,
    )


def ideal_timeline(load: Load, llm: Sequence[float], objective: Sequence[float]) -> Timeline:
    """An engine that costs nothing: call i takes `llm[i]`, the objective that begins as the j-th `objective[j]`."""
    events: list[tuple[float, int]] = []  # when, and what ends: 0 an objective, 1 a call
    durations, evaluations = deque(llm[: load.n]), deque(objective[: load.n])
    begins: list[float] = []
    calling = ready = running = 0
    now = 0.0
    while len(begins) < load.n or running:
        while ready and running < load.workers:
            ready, running = ready - 1, running + 1
            begins.append(now)
            heapq.heappush(events, (now + evaluations.popleft(), 0))
        while durations and calling + ready + running < load.workers + load.prefetch:
            calling += 1
            heapq.heappush(events, (now + durations.popleft(), 1))
        now, what = heapq.heappop(events)
        calling, ready, running = calling - what, ready + what, running - (1 - what)
    return Timeline(begins=tuple(begins), makespan=now)
