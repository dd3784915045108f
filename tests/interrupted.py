"""For the signal tests: `interrupted.py WORKERS STORAGE FOLDER BACKEND` says when trials run, and what is left."""

import signal
import sys
import time

import anyio
import optuna
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE, SchemaModel, sampler

from optuna_llm import optimize_async

kind, place, folder, backend = sys.argv[1:]
grace = 0.3 if kind.endswith("stubborn") else 20.0
storages = {
    "memory": InMemoryStorage,
    "journal": lambda: JournalStorage(JournalFileBackend(f"{folder}/journal.log")),
    "sqlite": lambda: RDBStorage(f"sqlite:///{folder}/study.db"),
}
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="s", storage=storages[place](), sampler=sampler(SchemaModel()))


def say(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def ready(number):
    if number == 4:
        say("READY")


async def coroutine(trial):
    ready(trial.number)
    if trial.number >= 3:
        await anyio.sleep(3600 if kind.endswith("stubborn") else 0.3)
    return 1.0


def thread(trial):
    ready(trial.number)
    if trial.number >= 3:
        (trial.cancelled.wait if kind.endswith("stubborn") else time.sleep)(3600 if kind.endswith("stubborn") else 0.3)
    return 1.0


objective = coroutine if kind.startswith("coroutine") else thread
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
try:
    anyio.run(
        lambda: optimize_async(study, objective, n_trials=50, n_workers=2, search_space=SPACE, grace=grace),
        backend=backend,
    )
finally:
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    say(sorted(trial.state.name for trial in study.trials))
