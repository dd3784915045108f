"""The cases of the throughput benchmark: each measures, compares with its limit or its target, and gives results."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from .import_cost import import_ratios
from .limits import Costs, Limits, Load, Rates, Timeline, ideal_timeline, limits
from .results import Phases, Result, Spread, Target, lag, phase_notes, phases, spread
from .runners import (
    Lags,
    Latencies,
    chain_cost,
    proposal_cost,
    run_engine,
    run_lag,
    run_optimize,
    storage_cost,
    trial_cost,
)
from .storages import STORAGES, StorageName, StudyPlace, missing, place
from .workload import Latency, latencies

NO_RATES = Rates()  # requests and tokens per minute are unlimited until the library has `Limits`
Engine = Callable[[Load, Latencies, StudyPlace], Timeline]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a run of the benchmark is. Targets of makespans hold at full scale only."""

    repeats: int
    quick: bool = False

    def seconds(self, full: float) -> float:
        return full / 10 if self.quick else full

    def target(self, bound: float) -> Target | None:
        return None if self.quick else Target(sense=">=", bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement; `measure` gives its lines of the table. It needs `storage`, of those that not everybody has."""

    name: str
    measure: Callable[[Scale], Iterator[Result]]
    storage: StorageName = "memory"

    @property
    def missing(self) -> str | None:
        """The package without which it is left out; None if it is there."""
        return missing(self.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Makespan:
    """Limit over measured makespan of whole runs."""

    name: str
    workers: int
    seconds: float
    waves: int
    storage: StorageName = "memory"
    latency: Latency = "constant"
    bound: float | None = None
    engine: Engine = run_engine

    def __call__(self, scale: Scale) -> Iterator[Result]:
        load = self.load(scale)
        runs = [self._once(load, seed) for seed in range(scale.repeats)]
        yield Result(
            case=self.name,
            unit="ratio",
            value=spread([run.limits.best / run.measured.makespan for run in runs]),
            target=None if self.bound is None else scale.target(self.bound),
            notes={
                "limit": runs[0].limits.binding,
                "limit s": runs[0].limits.best,
                "schedule s": runs[0].limits.schedule,
                "measured s": spread([run.measured.makespan for run in runs]).median,
                **phase_notes([run.best for run in runs], [run.real for run in runs]),
            },
        )

    def load(self, scale: Scale) -> Load:
        seconds = scale.seconds(self.seconds)
        n = self.workers * self.waves
        return Load(n=n, workers=self.workers, llm_seconds=seconds, objective_seconds=seconds)

    def _once(self, load: Load, seed: int) -> "_Pair":
        times = draw(load, self.latency, seed)
        ideal = ideal_timeline(load, times.llm, times.objective)
        with place(self.storage) as where:
            measured = self.engine(load, times, where)
        bounds = limits(load, costs(self.storage, load.workers), NO_RATES, ideal.makespan)
        return _Pair(
            limits=bounds, measured=measured, best=phases(ideal, load.workers), real=phases(measured, load.workers)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    limits: Limits
    measured: Timeline
    best: Phases
    real: Phases


def draw(load: Load, kind: Latency, seed: int) -> Latencies:
    """Latencies of a run; the seed decides, so that the limit is computed from the same draws."""
    return Latencies(
        llm=tuple(latencies(kind, load.llm_seconds, load.n, 2 * seed)),
        objective=tuple(latencies(kind, load.objective_seconds, load.n, 2 * seed + 1)),
    )


@cache
def costs(storage: StorageName, workers: int) -> Costs:
    """What this machine needs for a trial, measured once in this process."""
    with place(storage) as where:
        asked = storage_cost(where, 100)
    return Costs(cpu=spread(proposal_cost(100, workers, 30).later).median, storage=asked.median)


def prefetch(scale: Scale) -> Iterator[Result]:
    """Makespan of coupled over pipelined runs."""
    workers, waves, seconds = 16, 16, scale.seconds(0.5)
    one = Load(n=workers * waves, workers=workers, llm_seconds=seconds, objective_seconds=seconds)
    two = Load(n=one.n, workers=workers, llm_seconds=seconds, objective_seconds=seconds, prefetch=workers)
    slow: list[float] = []
    fast: list[float] = []
    for _ in range(scale.repeats):
        for load, makespans in ((one, slow), (two, fast)):
            with place("memory") as where:
                makespans.append(run_engine(load, draw(load, "constant", 0), where).makespan)
    best = [limits(load, costs("memory", workers), NO_RATES).best for load in (one, two)]
    yield Result(
        case=f"prefetch={workers} over coupled, memory W={workers}",
        unit="times",
        value=spread([a / b for a, b in zip(slow, fast, strict=True)]),
        target=scale.target(1.8),
        notes={"possible": best[0] / best[1], "coupled ratio": best[0] / spread(slow).median}
        | {"pipelined ratio": best[1] / spread(fast).median},
    )


def loop_lag(storage: StorageName) -> Callable[[Scale], Iterator[Result]]:
    """How late timers run on the caller's loop and on the loop of the model calls, 64 trials in flight."""

    def measure(scale: Scale) -> Iterator[Result]:
        seconds = scale.seconds(0.5)
        load = Load(n=128 if scale.quick else 256, workers=64, llm_seconds=seconds, objective_seconds=seconds)
        runs: list[Lags] = []
        for _ in range(scale.repeats):
            with place(storage) as where:
                runs.append(run_lag(load, draw(load, "constant", 0), where))
        target = None if scale.quick else Target(sense="<", bound=20)  # a quick run has too few samples for a p99
        yield _lag_line(f"loop lag p99, caller's loop, {storage} W=64", [run.engine for run in runs], target)
        yield _lag_line(f"loop lag p99, model's loop, {storage} W=64", [run.llm for run in runs], target)

    return measure


def _lag_line(case: str, runs: Sequence[Sequence[float]], target: Target | None) -> Result:
    lags = [lag(samples) for samples in runs]
    return Result(
        case=case,
        unit="ms",
        value=milliseconds([each.p99 for each in lags]),
        target=target,
        notes={"p50": spread([each.p50 for each in lags]).median * 1e3, "max": max(each.worst for each in lags) * 1e3},
    )


def proposals(history: int, bound: float | None) -> Callable[[Scale], Iterator[Result]]:
    """CPU of context, prompt, parse and conform, with 8 in flight."""

    def measure(scale: Scale) -> Iterator[Result]:
        cost = proposal_cost(history, 8, 30 if scale.quick else 200)
        yield Result(
            case=f"CPU per proposal, {history} trials",
            unit="ms",
            value=milliseconds(cost.later),
            target=None if bound is None else Target(sense="<=", bound=bound),
        )
        yield Result(
            case=f"longest hold of a first proposal, {history} trials",
            unit="ms",
            value=milliseconds([cost.hold]),
            target=Target(sense="<=", bound=5),
            notes={"CPU in all": cost.first * 1e3, "longest garbage collection": cost.collection * 1e3},
        )

    return measure


def chain(scale: Scale) -> Iterator[Result]:
    """CPU that limits, budget and retries add to a call of the bare client."""
    runs = [chain_cost(200 if scale.quick else 2000) for _ in range(scale.repeats)]
    yield Result(
        case="CPU of the line around a client, per call",
        unit="ms",
        value=milliseconds([run.line - run.bare for run in runs]),
        target=Target(sense="<=", bound=0.5),
        notes={"bare client ms": spread([run.bare for run in runs]).median * 1e3},
    )


def trials(storage: StorageName, history: int) -> Callable[[Scale], Iterator[Result]]:
    """CPU of a whole trial at L = T = 0, beside what plain Optuna's ask and tell need."""

    def measure(scale: Scale) -> Iterator[Result]:
        n = {"memory": 400, "journal": 200, "sqlite": 48}[storage]
        with place(storage) as where:
            runs = trial_cost(where, history, 8, n, scale.repeats)
        floor, wall = costs(storage, 8), spread([run.wall for run in runs]).median
        yield Result(
            case=f"CPU per trial, {storage}, {history} trials",
            unit="ms",
            value=milliseconds([run.cpu for run in runs]),
            notes={"wall ms": wall * 1e3, "Optuna's ask + tell ms": floor.storage * 1e3}
            | {"limit over measured": max(floor.storage, floor.cpu) / wall},
        )

    return measure


def importing(scale: Scale) -> Iterator[Result]:
    """CPU of our import over Optuna's."""
    yield Result(
        case="CPU of import optuna_llm over import optuna",
        unit="times",
        value=spread(import_ratios(2 if scale.quick else 3 * scale.repeats)),
        target=Target(sense="<=", bound=1.5),
    )


def one_at_a_time(scale: Scale) -> Iterator[Result]:
    """Computed: a single worker would need n (L + T)."""
    for case in FASTEST:
        load = case.load(scale)
        ratio = 1 / load.workers
        yield Result(
            case=f"one worker at a time, work of W={load.workers}",
            unit="ratio",
            value=Spread(median=ratio, low=ratio, high=ratio),
            notes={"computed s": load.n * (load.llm_seconds + load.objective_seconds)},
        )


def milliseconds(seconds: Sequence[float]) -> Spread:
    """Median, minimum and maximum in milliseconds."""
    return spread([each * 1e3 for each in seconds])


FASTEST = (
    Makespan(name="memory W=8", workers=8, seconds=2, waves=3, bound=0.97),
    Makespan(name="memory W=64", workers=64, seconds=2, waves=3, bound=0.97),
)
MAKESPANS = (
    Makespan(name="memory W=1", workers=1, seconds=2, waves=3, bound=0.97),
    *FASTEST,
    Makespan(name="memory W=64 lognormal", workers=64, seconds=2, waves=3, latency="lognormal"),
    Makespan(name="memory W=256", workers=256, seconds=8, waves=2, bound=0.95),
    Makespan(name="memory W=1000", workers=1000, seconds=8, waves=2, bound=0.95),
    Makespan(name="journal W=64", workers=64, seconds=2, waves=3, storage="journal", bound=0.95),
    Makespan(name="optimize n_jobs=8, memory", workers=8, seconds=2, waves=3, engine=run_optimize),
    Makespan(name="optimize n_jobs=64, memory", workers=64, seconds=2, waves=3, engine=run_optimize),
    Makespan(
        name="optimize n_jobs=64, journal", workers=64, seconds=2, waves=3, storage="journal", engine=run_optimize
    ),
)
HISTORIES: dict[int, float | None] = {100: 2, 1_000: None, 20_000: 4}
FILLED: tuple[StorageName, ...] = ("memory", "journal", "sqlite")  # with histories
CASES = (
    *(Case(name=each.name, measure=each) for each in MAKESPANS),
    Case(name="one at a time", measure=one_at_a_time),
    Case(name="prefetch", measure=prefetch),
    *(Case(name=f"lag {storage}", measure=loop_lag(storage), storage=storage) for storage in STORAGES),
    *(Case(name=f"proposal {n}", measure=proposals(n, bound)) for n, bound in HISTORIES.items()),
    Case(name="line", measure=chain),
    Case(name="import", measure=importing),
    *(Case(name=f"trial {storage} {n}", measure=trials(storage, n)) for storage in FILLED for n in HISTORIES),
)
SLOW_TO_FILL = {"trial sqlite 1000", "proposal 20000", *(f"trial {storage} 20000" for storage in FILLED)}
