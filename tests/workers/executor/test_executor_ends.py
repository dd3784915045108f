"""How a run on an executor ends: with signals, each trial is told; killed, its processes end with it."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from processes import ends
from support import SPACE, sampler

from optuna_llm import ExecutorWorkers, optimize_async

SCRIPT = Path(__file__).parents[2] / "executors_interrupted.py"
HANGS = 300  # seconds; it only keeps a run that hangs from holding up all tests
KINDS = [
    "spawn",
    pytest.param("fork", marks=pytest.mark.slow),
    pytest.param("loky", marks=pytest.mark.slow),
    pytest.param("executorlib", marks=pytest.mark.slow),
]
SIGNALS = [
    (signal.SIGINT, -signal.SIGINT, True),
    pytest.param(signal.SIGTERM, 143, False, marks=pytest.mark.slow),
]


class Program:
    """The script, in a session of its own; `pids` are those of the processes of its first two trials."""

    def __init__(self, kind: str, folder: Path, how: str) -> None:
        command = [sys.executable, "-W", "ignore", str(SCRIPT), kind, str(folder), how]
        paths = os.pathsep.join([str(SCRIPT.parent), *sys.path])
        self.pids: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder)},
            start_new_session=True,
        )

    def send(self, number: int, *, to_all: bool) -> None:
        """Send a signal, to all processes of the terminal or to that of the run alone."""
        if to_all:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def wait_for_draining(self) -> None:
        """It has heard the first signal."""
        assert self.process.stderr is not None
        assert any("no more trials" in line for line in iter(self.process.stderr.readline, ""))

    def end(self) -> list[str]:
        """The states of all trials, once the program has ended and no process of its executor is left."""
        output, _ = self.process.communicate(timeout=HANGS)
        assert all(ends(pid) for pid in self.pids)
        return output.split()


@contextmanager
def program(kind: str, folder: Path, how: str) -> Iterator[Program]:
    running = Program(kind, folder, how)
    try:
        running.pids = [written(folder / f"pid{number}") for number in range(2)]
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("number", "code", "to_all"), SIGNALS)
def test_the_first_signal_lets_running_trials_finish(
    tmp_path: Path, kind: str, number: int, code: int, to_all: bool
) -> None:
    with program(kind, tmp_path, "waits") as running:
        running.send(number, to_all=to_all)
        running.wait_for_draining()
        (tmp_path / "go").touch()
        assert running.end() == ["COMPLETE"] * 2
    assert running.process.returncode == code
    assert list(tmp_path.glob("optuna-llm-*")) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["waits", pytest.param("native", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "code", "to_all"), SIGNALS)
def test_the_second_signal_ends_them(tmp_path: Path, kind: str, how: str, number: int, code: int, to_all: bool) -> None:
    with program(kind, tmp_path, how) as running:
        running.send(number, to_all=to_all)
        running.wait_for_draining()
        running.send(number, to_all=to_all)
        assert running.end() == ["FAIL"] * 2
    assert running.process.returncode == code
    assert list(tmp_path.glob("optuna-llm-*")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_is_left_when_the_run_is_killed(tmp_path: Path, kind: str) -> None:
    with program(kind, tmp_path, "waits") as running:
        running.process.kill()
        assert all(ends(pid, 5) for pid in running.pids)
        assert list(tmp_path.glob("optuna-llm-*")) == []


def written(path: Path) -> str:
    """What another process is about to write into a file."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.05)
    raise TimeoutError(path)


def ignores_ctrl_c(trial: Any) -> float:
    return float(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)


def test_ctrl_c_is_left_to_the_process_of_the_run() -> None:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
        study = optuna.create_study(sampler=sampler())
        options: Any = {"n_trials": 1, "search_space": SPACE, "workers": ExecutorWorkers(own)}
        anyio.run(lambda: optimize_async(study, ignores_ctrl_c, **options))
    assert study.trials[0].value == 1.0
