"""Where the CPU of a run goes, thread by thread.

python -m benchmarks.throughput.profiling memory --workers 64 --seconds 0.3 --n 320
python -m benchmarks.throughput.profiling journal --history 20000 --n 100
"""

import argparse
import cProfile
import pstats
import threading
from collections.abc import Callable
from itertools import repeat

import anyio
import optuna

from .limits import Load
from .runners import Latencies, run_study
from .workload import SleepingModel, place, prefill, sampler

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
        profile = cProfile.Profile()
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile a run, thread by thread.")
    parser.add_argument("storage", choices=("memory", "journal", "sqlite"))
    parser.add_argument("--history", type=int, default=0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each model call and objective")
    parser.add_argument("--n", type=int, default=200)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    profiles = Profiles()
    profiles.install()
    with place(options.storage) as where:
        study = where.study(sampler(SleepingModel(repeat(options.seconds))))
        prefill(study, options.history)
        run(study, options.workers, options)  # takes the history in, and is not part of the profile
        profiles.clear()
        profiles.call("main", lambda: run(study, options.n, options))
        profiles.show()


def run(study: optuna.Study, n: int, options: argparse.Namespace) -> None:
    """`n` trials of the study."""
    load = Load(n=n, workers=options.workers, llm_seconds=options.seconds, objective_seconds=options.seconds)
    anyio.run(run_study, study, load, Latencies(llm=(), objective=(options.seconds,) * n))


if __name__ == "__main__":
    main()
