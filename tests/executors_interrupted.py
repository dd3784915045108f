"""For the signal tests: `executors_interrupted.py EXECUTOR FOLDER HOW` says when trials run, and what is left.

Objectives write the pid of their process to FOLDER. Then they wait for a file `go` there, for ever, or, with HOW
`native`, in code that neither Python's signals nor its threads get through.
"""

import importlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import optuna
from support import SPACE, sampler

from optuna_llm import ExecutorWorkers, optimize_async

kind, folder, how = sys.argv[1:] if len(sys.argv) == 4 else ("", "", "")


def objective(trial: Any, folder: str = folder, how: str = how) -> float:
    (Path(folder) / f"pid{trial.number}").write_text(f"{os.getpid()}\n")
    if how == "native":
        sum(itertools.repeat(0))
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return 1.0


def executor() -> Executor:
    """An executor of two processes."""
    made: Executor
    if kind == "loky":
        made = importlib.import_module("loky").ProcessPoolExecutor(2)
    elif kind == "executorlib":
        made = importlib.import_module("executorlib").SingleNodeExecutor(max_workers=2, block_allocation=True)
    else:
        made = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))
    return made


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born ignoring it
    study = optuna.create_study(sampler=sampler())
    try:
        with executor() as pool:
            options: Any = {"search_space": SPACE, "workers": ExecutorWorkers(pool, slots=2), "grace": 3600}
            anyio.run(lambda: optimize_async(study, objective, n_trials=50, **options))
    finally:
        sys.stdout.write(" ".join(trial.state.name for trial in study.trials))
