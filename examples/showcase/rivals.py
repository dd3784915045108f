"""Optuna's TPE on the same task, for the curves beside the model's: 20 seeds, each of 20 trials, one after another.

From the root of a clone, minutes of one core for each file; seeds that a file holds are not run again:

    PYTHONPATH=examples python -m showcase.rivals examples/showcase/recorded/tpe.json
    PYTHONPATH=examples python -m showcase.rivals examples/showcase/recorded/tpe-example.json --example

One trial after another suits TPE: each proposal knows all results, where those of four workers miss three. With
`--example` its first trial is the configuration that the model's task names, which it could not read there.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna

from .record import made_with, trainers
from .task import EXAMPLE, N_TRIALS, SPACE

N_SEEDS = 20


def values_of_tpe(train: Any, seed: int, n_trials: int, first: Mapping[str, object] | None = None) -> list[float]:
    """The values of one study, in order; `first` is its first configuration, None for one that TPE draws."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    if first is not None:
        study.enqueue_trial(dict(first))
    for _ in range(n_trials):
        trial = study.ask(SPACE)
        study.tell(trial, train(trial.params))
    return [float(trial.values[0]) for trial in study.trials]


def read_rivals(path: Path) -> dict[int, list[float]]:
    """The values of each seed's study."""
    return {int(seed): values for seed, values in json.loads(path.read_text(encoding="utf-8"))["seeds"].items()}


def write_rivals(path: Path, seeds: Mapping[int, Sequence[float]], first: Mapping[str, object] | None = None) -> None:
    rows = ",\n".join(f'    "{seed}": {json.dumps([round(v, 5) for v in seeds[seed]])}' for seed in sorted(seeds))
    given = "" if first is None else f'  "first": {json.dumps(first)},\n'
    head = f'{{\n  "sampler": "TPESampler",\n{given}  "made_with": {json.dumps(made_with())},\n  "seeds": {{\n'
    path.write_text(f"{head}{rows}\n  }}\n}}\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m showcase.rivals", description="Run TPE on the showcase's task.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--example", action="store_true", help="begin with the example of the task's text")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = read_rivals(options.path) if options.path.exists() else {}
    first = EXAMPLE if options.example else None
    left = [seed for seed in range(options.seeds) if seed not in seeds]
    with trainers(options.processes) as train, ThreadPoolExecutor(options.processes) as threads:
        runs = threads.map(lambda seed: (seed, values_of_tpe(train, seed, N_TRIALS, first)), left)
        for seed, values in runs:
            seeds[seed] = values
            write_rivals(options.path, seeds, first)
            print(f"seed {seed}: best {min(values):.4f}", flush=True)


if __name__ == "__main__":
    main()
