"""For the signal tests: `interrupted.py WORKERS STORAGE FOLDER BACKEND` says when trials run, and what is left."""

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, Objective, optimize_async

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born ignoring it
kind, place, folder, backend = sys.argv[1:]
hangs = kind.endswith(("stubborn", "cancelled"))  # its trials end only if they are ended
grace = 0.3 if kind.endswith("stubborn") else 3600.0
storages: dict[str, Callable[[], BaseStorage]] = {
    "memory": InMemoryStorage,
    "journal": lambda: JournalStorage(JournalFileBackend(f"{folder}/journal.log")),
    "sqlite": lambda: RDBStorage(f"sqlite:///{folder}/study.db"),
}
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(study_name="s", storage=storages[place](), sampler=sampler(SchemaModel()))


is_ready = threading.Event()


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def ready(number: int) -> None:
    if number == 4:
        say("READY")
        is_ready.set()


def leave() -> None:
    if kind.endswith("exits"):
        raise SystemExit(7)
    if kind.endswith("interrupts"):
        raise KeyboardInterrupt


async def coroutine(trial: AsyncTrial) -> float:
    ready(trial.number)
    if trial.number == 4:
        leave()
    if trial.number >= 3:
        await anyio.sleep(3600 if hangs else 0.3)
    return 1.0


def thread(trial: Any) -> float:
    ready(trial.number)
    if trial.number == 4:
        leave()
    if trial.number >= 3:
        trial.cancelled.wait(3600 if hangs else 0.3)
    return 1.0


async def run() -> None:
    await optimize_async(study, objective, n_trials=50, n_workers=2, search_space=SPACE, grace=grace)


async def cancelled() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.to_thread.run_sync(is_ready.wait)
        group.cancel_scope.cancel()


objective: Objective = coroutine if kind.startswith("coroutine") else thread
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
try:
    anyio.run(cancelled if kind.endswith("cancelled") else run, backend=backend)
finally:
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    say(sorted(trial.state.name for trial in study.trials))
