"""One cell of the experiment: a task, a method and a seed, as one Optuna study in a folder of its own.

A folder holds the study's journal file, one recording of the model's replies for each time that the cell was run, and
the measures of the finished cell. Running it again runs only the trials that are missing. The recordings of a deleted
study are moved to a folder of their own, unless it is replayed from them.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optuna_llm import AsyncTrial, Client, RecordingClient, UsageError, optimize_async

from .measures import Measured, measure
from .methods import METHODS, Asked, Method
from .replies import Counted, Replayed, recordings, set_aside, totals
from .simulated import Simulation, Times
from .tasks.draws import draws
from .tasks.task import Task

JOURNAL: Final = "study.journal"
TIMES: Final = "simulated_seconds"
FAILED_PROPOSALS: Final = 10  # in a row: a weak model is to be measured, not given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`first`: the study begins with a configuration drawn from the seed, the same for every method."""

    task: str
    method: str
    seed: int
    first: bool

    @property
    def folder(self) -> Path:
        table = "first" if self.first else "no-first"
        return Path(table) / self.task / self.method / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.task} {self.method} {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all cells of an experiment share.

    `client` makes the model of a cell from its seed. `replay`: replies come from the recordings of an earlier run.
    `rationale`: the model is to say why.
    """

    out: Path
    trials: int
    workers: int
    client: Callable[[int], Client] | None = None
    replay: bool = False
    rationale: bool = True


def first_configuration(task: Task, seed: int) -> dict[str, Any]:
    """The configuration of the original task that every method's study begins with."""
    return next(draws(task.space, zlib.crc32(f"{task.name} {seed}".encode())))


def continued(seed: int, drawn: int) -> int:
    """The seed of a study that holds `drawn` trials: not the one that these were drawn from, which repeats them."""
    return zlib.crc32(f"{seed} after {drawn}".encode()) if drawn else seed


def known(cell: Cell, out: Path) -> Measured | None:
    """The measures of a cell as it was when it last ended, without opening its study; None if that was deleted."""
    path = out / cell.folder / "measured.json"
    if not path.exists() or not path.with_name(JOURNAL).exists():
        return None
    return Measured.of(json.loads(path.read_text(encoding="utf-8")))


def run(cell: Cell, task: Task, setup: Setup) -> Measured:
    """Run the missing trials of a cell and measure it; a study that holds more of them is a `UsageError`."""
    method = METHODS[cell.method]
    folder = setup.out / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    view = method.view(task)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        study_name="cell",
        direction=view.direction,
        load_if_exists=True,
    )
    drawn = sum(trial.state is not TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    seed = continued(cell.seed, drawn)
    replay = method.model and setup.replay
    if not drawn and not replay:
        set_aside(folder)
    client = Counted(Replayed(recordings(folder))) if replay else _recorded(method, seed, folder, setup)
    asked = Asked(client=client, rationale=setup.rationale)
    study.sampler = method.sampler(view, cell.seed if method.follows else seed, asked)
    if cell.first and not study.get_trials(deepcopy=False):
        study.enqueue_trial(view.encode(first_configuration(task, cell.seed)))
    missing = setup.trials - len(evaluated(study))
    if missing < 0:  # what its replies took is not known by trial
        raise UsageError(f"its study holds {len(evaluated(study))} trials: choose another --out for {setup.trials}")
    if missing > 0:
        anyio.run(_optimize, study, view, missing, setup.workers, client)
    measured = measure(
        cell.task,
        cell.method,
        cell.seed,
        evaluated(study),
        view,
        totals=totals(recordings(folder)),
        first=cell.first,
    )
    (folder / "measured.json").write_text(json.dumps(measured.record(), indent=1) + "\n", encoding="utf-8")
    return measured


def evaluated(study: optuna.Study) -> list[FrozenTrial]:
    """Trials whose evaluation came to an end, well or not; a trial that an interruption cut off is none of them."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished() and TIMES in trial.user_attrs]


def _recorded(method: Method, seed: int, folder: Path, setup: Setup) -> Counted | None:
    make = method.client or (setup.client if method.model else None)
    path = folder / f"recording-{len(recordings(folder)) + 1}.jsonl"
    return None if make is None else Counted(RecordingClient(make(seed), path))


async def _optimize(study: optuna.Study, task: Task, missing: int, workers: int, client: Counted | None) -> None:
    evaluating = 0
    simulation = Simulation(
        workers,
        missing,
        start=max((trial.user_attrs[TIMES]["ended"] for trial in evaluated(study)), default=0.0),
        busy=lambda: evaluating > 0 or (client is not None and client.asked > 0),
    )

    async def objective(trial: AsyncTrial) -> float:
        nonlocal evaluating
        evaluating += 1
        seconds = 0.0  # of an evaluation that fails
        try:
            evaluation = await anyio.to_thread.run_sync(task.evaluate, trial.params)
            seconds = evaluation.seconds
            return evaluation.value
        finally:
            evaluating -= 1
            _note(trial, await simulation.spend(_latency(trial), seconds))

    try:
        await optimize_async(
            study,
            objective,
            n_trials=missing,
            n_workers=workers,
            search_space=task.space,
            catch=(Exception,),
            max_failed_proposals=FAILED_PROPOSALS,
        )
    finally:
        if client is not None:
            await client.aclose()


def _latency(trial: AsyncTrial) -> float:
    provenance = trial.user_attrs.get("llm") or {}
    return float(provenance.get("latency") or 0.0)


def _note(trial: AsyncTrial, times: Times) -> None:
    trial.set_user_attr(TIMES, {"asked": times.asked, "began": times.began, "ended": times.ended})
