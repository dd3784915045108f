"""Processes of workers in whole programs: scripts, notebooks, forks, and how these end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BEGIN = """
import os, sys, threading, time, signal, anyio, optuna
from optuna.distributions import FloatDistribution
from optuna_llm import FunctionClient, LLMGuidedSampler, ProcessWorkers, optimize_async

optuna.logging.set_verbosity(optuna.logging.ERROR)

def run(workers, objective, n_trials=1):
    client = FunctionClient(lambda request: {"rationale": "", "x": 0.5})
    study = optuna.create_study(sampler=LLMGuidedSampler(client, strategy="plain"))
    space = {"x": FloatDistribution(0, 1)}
    anyio.run(lambda: optimize_async(study, objective, n_trials=n_trials, search_space=space, workers=workers))
    return [trial.value for trial in study.trials]

def pid(trial):
    return os.getpid()

"""


def output(script: str, *, file: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program, from standard input unless it is to have a file."""
    command = [sys.executable, "-"]
    if file is not None:
        file.write_text(BEGIN + script)
        command = [sys.executable, str(file)]
    text = None if file else BEGIN + script
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=100, check=False, **options)


def gone(pids: list[str]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "child",
    ["sys.exit(0)", "raise SystemExit('with a message')", "import gc; del workers; gc.collect(); sys.exit(0)"],
    ids=["exit", "message", "collected"],
)
def test_the_end_of_a_fork_ends_no_process_of_its_parent(child: str) -> None:
    done = output(
        f"""
workers = ProcessWorkers(1)
before = run(workers, pid)
if (number := os.fork()) == 0:
    {child}
os.waitpid(number, 0)
print(before == run(workers, pid))
"""
    )
    assert done.stdout == "True\n", done.stderr


def test_a_fork_may_use_the_same_workers() -> None:
    done = output(
        """
workers = ProcessWorkers(1)
before = run(workers, pid)
if (number := os.fork()) == 0:
    print(run(workers, pid) != before, flush=True)
    sys.exit(0)
os.waitpid(number, 0)
print(before == run(workers, pid))
"""
    )
    assert done.stdout == "True\nTrue\n", done.stderr


def test_a_fork_that_lives_on_keeps_no_process_alive() -> None:
    done = output(
        """
workers = ProcessWorkers(1)
print(*map(int, run(workers, pid)), flush=True)
if (number := os.fork()) == 0:
    os.closerange(0, 3)
    time.sleep(60)
print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    worker, fork = done.stdout.split()
    try:
        assert gone([worker]), done.stderr
    finally:
        os.kill(int(fork), signal.SIGKILL)


@pytest.mark.parametrize(
    "busy", ["time.sleep(0.01)", "pass", "os.write(1, b'x' * 70000)"], ids=["sleep", "spin", "flood"]
)
def test_a_program_may_end_while_trials_run(busy: str, tmp_path: Path) -> None:
    done = output(
        f"""
def objective(trial):
    open({str(tmp_path)!r} + "/" + str(os.getpid()), "w").close()
    while True:
        {busy}

threading.Thread(target=run, args=(ProcessWorkers(1), objective), daemon=True).start()
while not os.listdir({str(tmp_path)!r}):
    time.sleep(0.01)
"""
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Fatal" not in done.stderr
    assert gone(os.listdir(tmp_path))


def test_functions_of_a_notebook_need_no_file() -> None:
    done = output(
        """
class Model:
    factor = 3.0

def helper(x):
    return Model.factor * x

def objective(trial):
    return helper(trial.suggest_float("x", 0, 1))

print(run(ProcessWorkers(1), objective))
"""
    )
    assert done.stdout == "[1.5]\n", done.stderr


@pytest.mark.parametrize("how", ["from helpers import objective", "import helpers; objective = helpers.objective"])
def test_a_module_beside_a_script_is_found(how: str, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def objective(trial):\n    return 2 * trial.suggest_float('x', 0, 1)\n")
    done = output(f"{how}\nprint(run(ProcessWorkers(1), objective))", file=tmp_path / "script.py", cwd="/")
    assert done.stdout == "[1.0]\n", done.stderr


def test_a_script_needs_no_guard_of_main(tmp_path: Path) -> None:
    done = output("print(run(ProcessWorkers(2), pid, 4) != [])", file=tmp_path / "script.py")
    assert done.stdout == "True\n", done.stderr
