"""Record a run: a model proposes, four processes train, and all that a replay needs is written down.

From the root of a clone, with any model:

    PYTHONPATH=examples python -m showcase.record my-run --client anthropic/claude-sonnet-5-5
    PYTHONPATH=examples python -m showcase --recording my-run

`--client hand:FOLDER` asks through a folder, see `benchmarks/quality/by_hand.py`.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import optuna

from benchmarks.quality.by_hand import hand_client
from optuna_llm import Client, LiteLLMClient, LLMGuidedSampler, RecordingClient, optimize

from .recorded_run import EXCHANGES, Evaluation, RecordedRun, write_run
from .score import BEGAN, ENDED, InTurn, Recorder
from .task import MEANINGS, N_TRIALS, N_WORKERS, SPACE, TASK, suggested
from .training import bits_per_character, python_reference

Train = Callable[[dict[str, object]], float]
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def value_of(parameters: dict[str, object]) -> float:
    """What a process of its own computes."""
    return bits_per_character(parameters, python_reference())


def _ready(number: int) -> str:
    return python_reference().digest


@contextmanager
def trainers(n: int) -> Iterator[Train]:
    """A function that trains in one of `n` processes, each with one thread, and waits for it."""
    os.environ.update(ONE_THREAD)  # spawned processes read it when they import NumPy
    with ProcessPoolExecutor(n, get_context("spawn")) as pool:
        list(pool.map(_ready, range(n)))  # the first evaluations are not to wait for imports
        yield lambda parameters: pool.submit(value_of, parameters).result()


def made_with() -> dict[str, str]:
    """What values depend on."""
    return {"python": platform.python_version(), "numpy": version("numpy"), "text": python_reference().digest}


def sampler_of(client: Client, strategy: str = "adaptive") -> LLMGuidedSampler:
    """The same for a run and its replay, but for the menus of the first: the prompts follow from it."""
    return LLMGuidedSampler(client, task=TASK, parameters=MEANINGS, strategy=strategy, seed=0)


def record(
    folder: Path, client: Client, model: str, train: Train, n_trials: int = N_TRIALS, how: str = ""
) -> optuna.Study:
    """Run the study, and write the recording into `folder`, which must not hold one."""
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(n_followed=n_trials - N_WORKERS)
    study = optuna.create_study(sampler=sampler_of(InTurn(RecordingClient(client, folder / EXCHANGES), recorder)))

    def objective(trial: optuna.Trial) -> float:
        recorder(BEGAN, trial.number)
        value = train(suggested(trial))
        recorder(ENDED, trial.number)
        return value

    optimize(study, objective, n_trials=n_trials, n_workers=N_WORKERS, search_space=SPACE)
    evaluations = [Evaluation(value=float(trial.values[0]), params=trial.params) for trial in study.trials]
    run = RecordedRun(
        model=model,
        how=how,
        date=datetime.now(UTC).date().isoformat(),
        made_with=made_with(),
        evaluations=evaluations,
        events=recorder.events,
    )
    write_run(folder, run)
    return study


def client_of(name: str) -> Client:
    """A model that LiteLLM knows, or one that answers through a folder."""
    if name.startswith("hand:"):
        return hand_client(name.removeprefix("hand:"))
    return LiteLLMClient(name)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m showcase.record", description="Record a run of the showcase.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--client", required=True, metavar="MODEL|hand:FOLDER")
    parser.add_argument("--model", help="the name under which the showcase shows the model; default: that of --client")
    parser.add_argument("--how", default="", help="a sentence on how the model was asked, shown with the run")
    parser.add_argument("--trials", type=int, default=N_TRIALS)
    options = parser.parse_args(arguments)
    client, model = client_of(options.client), options.model or options.client
    with trainers(N_WORKERS) as train:
        study = record(options.folder, client, model, train, options.trials, options.how)
    print(f"Recorded in {options.folder}: {len(study.trials)} trials, best {study.best_value:.4f}")


if __name__ == "__main__":
    main()
