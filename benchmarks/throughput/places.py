"""What it costs to run an objective that keeps a CPU busy in a process of `ProcessWorkers`, in a thread, or with Dask.

python -m benchmarks.throughput.places [--cpu-seconds 0.05 0.2 1] [--trials 80] [--repeats 5]

Beside a bare `concurrent.futures.ProcessPoolExecutor`, which has no study, stand `ProcessWorkers`, threads and a Dask
cluster on this machine, with two workers each and a model that answers at once. Reported are

- throughput over the pool's, measured just before in the same repeat, for objectives of each length; `ProcessWorkers`
  also with `prefetch=2`, which is nearest to the pool: that has its next call ready while its processes are busy,
- CPU that the process of the run takes for a trial, while the others compute; more steady than throughput where a
  machine has other work; and the share of the time in which a slot had a trial,
- the overhead of a trial: the median time of a call of an objective that returns at once, one call at a time.

`--trials` are those of the shortest objective; of longer ones as many as take the same time, but four for each worker
at least. Processes are warm. Those of the pool are in sessions of their own, as ours are, since some systems divide a
busy machine among sessions.

With `--waiting`, instead: how much of its limit, 64 objectives at a time, a Dask cluster of four workers with 16
threads each reaches, with objectives that sleep.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import distributed
import optuna

from optuna_llm import DaskWorkers, ProcessWorkers, RunReport, ThreadWorkers, Workers, optimize_async
from optuna_llm.engine.records import Call
from optuna_llm.engine.study.patience import Patience
from optuna_llm.engine.threads import JobThread

from .workload import SPACE, SleepingModel, sampler

SLOTS: Final = 2
CPU_SECONDS: Final = (0.05, 0.2, 1.0)
FEWEST_TRIALS: Final = 4 * SLOTS
EMPTY_CALLS: Final = 300

# A cluster for objectives that wait, and how long they do.
WAITING_WORKERS: Final = 4
WAITING_THREADS: Final = 16
WAITING_SECONDS: Final = 8.0
WAVES: Final = 3

Objective = Callable[[Any], float]
Place = Callable[[Objective, int], RunReport | None]  # runs an objective so many times


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """One kind of place with objectives that take `cpu_seconds`.

    `ratios` are its throughput over the bare pool's in each repeat; `cpu` are seconds of the run's process for a trial;
    `busy` is the share of the time in which a slot had a trial.
    """

    cpu_seconds: float
    ratios: list[float]
    cpu: float
    busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One kind of place: how it does with each length, and seconds of an empty call (None: as another kind)."""

    lengths: list[Length]
    overhead: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds of a run, those of CPU in this process, and what the run says of itself, if it is one."""

    wall: float
    cpu: float
    report: RunReport | None


@dataclass(frozen=True, slots=True)
class Burn:
    """Keeps a CPU busy for so many seconds; an objective, and a call of the pool."""

    seconds: float

    def __call__(self, _: Any) -> float:
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            sum(range(2000))
        return 0.0


def nothing(_: Any) -> float:
    """Return at once."""
    return 0.0


def taken(place: Place, objective: Objective, calls: int) -> Took:
    """How long a place takes for so many calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    report = place(objective, calls)
    return Took(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu, report=report)


def trials_of(cpu_seconds: float, shortest: float, trials: int) -> int:
    """As many trials as take the time of `trials` of the shortest objective, but not too few for a mean."""
    return max(round(trials * shortest / cpu_seconds), min(trials, FEWEST_TRIALS))


def run_on(workers: Workers, prefetch: int = 0) -> Place:
    """A run of `optimize_async` as a place."""

    def place(objective: Objective, calls: int) -> RunReport:
        study = optuna.create_study(sampler=sampler(SleepingModel([0.0])))
        run = partial(
            optimize_async, n_trials=calls, n_workers=SLOTS, search_space=SPACE, workers=workers, prefetch=prefetch
        )
        return anyio.run(run, study, objective)

    return place


async def empty_calls(workers: Workers) -> float:
    """The median seconds of a call of an objective that returns at once."""
    study, lane, took = optuna.create_study(), JobThread("lane"), []
    for _ in range(EMPTY_CALLS):
        call = Call(objective=nothing, trial=study.ask(), lane=lane, patience=Patience())
        began = time.perf_counter()
        await workers.run(call)
        took.append(time.perf_counter() - began)
    lane.close()
    return statistics.median(took)


def beside(bare: Place, place: Place, seconds: float, trials: int, repeats: int) -> Length:
    """How a place does beside the bare pool, with objectives of that length."""
    burn = Burn(seconds)
    pairs = [(taken(bare, burn, trials), taken(place, burn, trials)) for _ in range(repeats)]
    return Length(
        cpu_seconds=seconds,
        ratios=[pool.wall / ours.wall for pool, ours in pairs],
        cpu=statistics.median(ours.cpu / trials for _, ours in pairs),
        busy=statistics.median((ours.report and ours.report.utilization) or 1.0 for _, ours in pairs),
    )


def measure(lengths: Sequence[float], trials: int, repeats: int) -> dict[str, Result]:
    """A result for each kind of place."""
    with (
        ProcessPoolExecutor(SLOTS, initializer=os.setsid) as pool,
        closing(ProcessWorkers(SLOTS)) as processes,
        closing(DaskWorkers(slots=SLOTS)) as cluster,
    ):

        def bare(objective: Objective, calls: int) -> None:
            list(pool.map(objective, range(calls)))

        kinds: dict[str, Workers] = {"processes": processes, "threads": ThreadWorkers(SLOTS), "dask": cluster}
        places = {name: run_on(workers) for name, workers in kinds.items()}
        places["processes, prefetch=2"] = run_on(processes, prefetch=SLOTS)
        for place in (bare, *places.values()):
            place(Burn(lengths[0]), 2 * SLOTS)
        took = [taken(bare, nothing, 1).wall for _ in range(EMPTY_CALLS)]
        return {"bare pool": Result(lengths=[], overhead=statistics.median(took))} | {
            name: Result(
                lengths=[
                    beside(bare, place, seconds, trials_of(seconds, min(lengths), trials), repeats)
                    for seconds in lengths
                ],
                overhead=anyio.run(empty_calls, kinds[name]) if name in kinds else None,
            )
            for name, place in places.items()
        }


def wait(_: Any) -> float:
    """Sleep, as an objective does that waits for something else."""
    time.sleep(WAITING_SECONDS)
    return 0.0


def waiting(repeats: int) -> Iterator[float]:
    """How much of its limit a cluster reaches with objectives that sleep; all of their processes are warm."""
    at_once = WAITING_WORKERS * WAITING_THREADS
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        distributed.LocalCluster(n_workers=WAITING_WORKERS, threads_per_worker=WAITING_THREADS, **local) as cluster,
        distributed.Client(cluster) as client,
        closing(DaskWorkers(client)) as workers,
    ):

        def place(objective: Objective, calls: int) -> RunReport:
            study = optuna.create_study(sampler=sampler(SleepingModel([0.0])))
            run = partial(optimize_async, n_trials=calls, n_workers=at_once, search_space=SPACE, workers=workers)
            return anyio.run(run, study, objective)

        place(wait, 2 * at_once)
        for _ in range(repeats):
            yield WAVES * WAITING_SECONDS / taken(place, wait, WAVES * at_once).wall


def tables(results: dict[str, Result]) -> Iterator[str]:
    """Lines of Markdown: throughput and CPU, then overhead."""
    yield "| place | objective, s | throughput over the pool's | min | max | CPU of the run a trial, ms | busy |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in results.items():
        for length in one.lengths:
            ratios = f"{statistics.median(length.ratios):.2f} | {min(length.ratios):.2f} | {max(length.ratios):.2f}"
            yield f"| {name} | {length.cpu_seconds:g} | {ratios} | {1000 * length.cpu:.2f} | {length.busy:.2f} |"
    yield ""
    yield "| place | overhead a trial, ms |"
    yield "|---|---|"
    for name, one in results.items():
        if one.overhead is not None:
            yield f"| {name} | {1000 * one.overhead:.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What it costs to run an objective in a process, and in a thread.")
    parser.add_argument("--cpu-seconds", type=float, nargs="+", default=CPU_SECONDS, metavar="SECONDS")
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--waiting", action="store_true")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if arguments.waiting:
        print("of the limit of objectives that wait:", *(f"{ratio:.2f}" for ratio in waiting(arguments.repeats)))
    else:
        print("\n".join(tables(measure(arguments.cpu_seconds, arguments.trials, arguments.repeats))))
