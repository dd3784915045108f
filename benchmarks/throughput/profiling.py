"""Where the CPU of a run goes, thread by thread.

python -m benchmarks.throughput.profiling memory --workers 64 --seconds 0.3 --n 320
python -m benchmarks.throughput.profiling journal --history 20000 --n 100
python -m benchmarks.throughput.profiling memory --workers 1000 --seconds 8 --n 2000 --bare

A profile counts CPU, and not what is waited for. `--bare` runs without one, which costs nothing: it prints CPU a trial
for each thread, of collecting garbage, and the growth of the process's memory for each worker.
"""

import argparse
import cProfile
import gc
import os
import pstats
import resource
import sys
import threading
import time
from collections.abc import Callable
from itertools import repeat

import anyio
import optuna

from .limits import Load
from .runners import Latencies, run_study
from .storages import place
from .workload import SleepingModel, prefill, sampler

ROWS = 16


class Profiles:
    """A profile for each thread that starts from now on, and for the one that runs the study."""

    def __init__(self) -> None:
        self.of: list[tuple[str, cProfile.Profile]] = []
        self._original = threading.Thread.run

    def install(self) -> None:
        profiles = self

        def run(self: threading.Thread) -> None:
            profiles.call(self.name, lambda: profiles._original(self))

        threading.Thread.run = run  # type: ignore[method-assign]

    def call(self, name: str, function: Callable[[], object]) -> None:
        profile = cProfile.Profile(time.thread_time)
        self.of.append((name, profile))
        profile.runcall(function)

    def clear(self) -> None:
        for _, profile in self.of:
            profile.clear()

    def show(self) -> None:
        for name, profile in self.of:
            if len(profile.getstats()) < ROWS:  # idle, or of the run before
                continue
            print(f"== {name}")
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(ROWS)


class Clocks:
    """CPU seconds of the threads that start from now on, by name, and of collecting garbage on any thread."""

    def __init__(self) -> None:
        self._of: dict[str, float] = {}  # of those that have ended
        self._alive: dict[int, str] = {}
        self._original = threading.Thread.run
        self._collected = self._collecting_since = 0.0

    def install(self) -> None:
        clocks = self

        def run(self: threading.Thread) -> None:
            ident = threading.get_ident()
            clocks._alive[ident] = self.name
            try:
                clocks._original(self)
            finally:
                clocks._add(clocks._alive.pop(ident), time.thread_time())

        threading.Thread.run = run  # type: ignore[method-assign]
        gc.callbacks.append(self._collect)

    def read(self) -> dict[str, float]:
        """By name, as of now; all that ran under one name together."""
        total = {"process": time.process_time(), "main": time.thread_time(), "garbage": self._collected, **self._of}
        for ident, name in self._alive.items():
            total[name] = total.get(name, 0.0) + time.clock_gettime(time.pthread_getcpuclockid(ident))
        return total

    def _add(self, name: str, seconds: float) -> None:
        self._of[name] = self._of.get(name, 0.0) + seconds

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "start":
            self._collecting_since = now
        else:
            self._collected += now - self._collecting_since


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile a run, thread by thread.")
    parser.add_argument("storage", choices=("memory", "journal", "sqlite"))
    parser.add_argument("--history", type=int, default=0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each model call and objective")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--bare", action="store_true", help="no profile: CPU a trial, and memory a worker")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (count if options.bare else profiled)(options)


def profiled(options: argparse.Namespace) -> None:
    """Print a profile for each thread."""
    profiles = Profiles()
    profiles.install()
    with place(options.storage) as where:
        study = where.study(sampler(SleepingModel(repeat(options.seconds))))
        prefill(study, options.history)
        run(study, options.workers, options)  # takes the history in, and is not part of the profile
        profiles.clear()
        profiles.call("main", lambda: run(study, options.n, options))
        profiles.show()


def count(options: argparse.Namespace) -> None:
    """Print what a trial and a worker cost, beside the makespan that latencies alone would need."""
    clocks = Clocks()
    clocks.install()
    with place(options.storage) as where:
        run(where.study(sampler(SleepingModel(repeat(0.0)))), 16, argparse.Namespace(workers=8, seconds=0.0))
        study = where.study(sampler(SleepingModel(repeat(options.seconds))))
        prefill(study, options.history)
        before, peak, began = clocks.read(), _peak(), time.perf_counter()
        run(study, options.n, options)
        makespan, after = time.perf_counter() - began, clocks.read()
    spent = {name: 1e3 * (seconds - before.get(name, 0.0)) / options.n for name, seconds in after.items()}
    print(", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in spent.items()), "ms of CPU a trial")
    print(f"{(_peak() - peak) / options.workers:.0f} kB a worker")
    waves = -(-options.n // options.workers)
    print(f"{waves * 2 * options.seconds / makespan:.3f} of the limit; load {os.getloadavg()[0]:.1f}")


def _peak() -> float:
    """The most memory that the process ever held, in kB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else peak


def run(study: optuna.Study, n: int, options: argparse.Namespace) -> None:
    """`n` trials of the study."""
    load = Load(n=n, workers=options.workers, llm_seconds=options.seconds, objective_seconds=options.seconds)
    anyio.run(run_study, study, load, Latencies(llm=(), objective=(options.seconds,) * n))


if __name__ == "__main__":
    main()
