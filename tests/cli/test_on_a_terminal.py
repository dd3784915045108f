"""`run` and `show --watch` as processes of their own: on a terminal, and two at once on one study."""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from fault_server import FaultServer, Received, Scripted, completion
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from terminal import CTRL_C, PATIENCE, Terminal, command

from optuna_llm.engine.fleet.runs import runs_of

pytestmark = pytest.mark.slow

MODULE = """
import os, time
from pathlib import Path
import optuna

here = Path(__file__).parent
search_space = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}

def objective(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    print(f"<began {trial.number}>", flush=True)
    (here / f"by-{os.getpid()}").touch()
    while not (here / "go").exists() and not trial.cancelled:
        time.sleep(0.01)
    return x + y
"""


class Answering(FaultServer):
    """Answers with a new configuration each time, and notes when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[float] = []
        self._rng = random.Random(0)

    def answer(self, request: Received) -> Scripted:
        self.arrivals.append(time.monotonic())
        return completion(json.dumps({"rationale": "so", "x": self._rng.random(), "y": self._rng.random()}))


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as answering:
        yield answering


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_of_a_terminal.py").write_text(MODULE)
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    return tmp_path


def run(server: Answering, *more: str) -> list[str]:
    """The command that runs trials of the toy."""
    where = ["--storage", "study.journal", "--study-name", "s", "--model", "openai/gpt-4o-mini"]
    how = ["--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", "--workers", "2"]
    return command("run", "toy_of_a_terminal:objective", *where, *how, *more)


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))))


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


def test_ctrl_c_lets_running_trials_finish_says_so_and_the_same_command_goes_on(
    server: Answering, folder: Path
) -> None:
    words = run(server, "--total-trials", "5")
    with Terminal(words, folder=folder) as terminal:
        terminal.wait_for("<began 1>")
        terminal.press(CTRL_C)
        terminal.wait_for("no more trials are asked for")
        (folder / "go").touch()
        assert terminal.ended() == 130
        assert "The same command goes on with this study." in terminal.text
        assert "Traceback" not in terminal.text
    study = study_in(folder)
    assert states(study) == [TrialState.COMPLETE] * 2
    assert [run.stop_reason for run in runs_of(study)] == ["signal"]
    with Terminal(words, folder=folder) as terminal:
        assert terminal.ended() == 0
        assert "3 complete" in terminal.text
    assert states(study) == [TrialState.COMPLETE] * 5
    assert [(run.stop_reason, run.n_complete) for run in runs_of(study)] == [("signal", 2), ("total_trials", 3)]


def test_a_second_ctrl_c_ends_what_runs_and_the_study_goes_on(server: Answering, folder: Path) -> None:
    words = run(server, "--total-trials", "3")
    with Terminal(words, folder=folder) as terminal:
        terminal.wait_for("<began 1>")
        terminal.press(CTRL_C)
        terminal.wait_for("no more trials are asked for")
        terminal.press(CTRL_C)
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.text
    study = study_in(folder)
    assert states(study) == [TrialState.FAIL] * 2
    assert {trial.user_attrs["failure"]["type"] for trial in study.trials} == {"Interrupted"}
    (folder / "go").touch()
    with Terminal(words, folder=folder) as terminal:
        assert terminal.ended() == 0
    assert states(study)[2:] == [TrialState.COMPLETE] * 3


def test_two_runs_at_once_come_to_one_total_within_one_rate(server: Answering, folder: Path) -> None:
    words, rate, total = run(server, "--total-trials", "40", "--rpm", "240", "--json"), 4.0, 40
    with ExitStack() as stack:
        members = [
            stack.enter_context(
                subprocess.Popen(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
            for _ in range(2)
        ]
        for process in members:
            stack.callback(process.kill)
        until = time.monotonic() + PATIENCE
        while len(list(folder.glob("by-*"))) < 2:  # no trial ends before both have begun one
            assert time.monotonic() < until
            assert all(process.poll() is None for process in members)
            time.sleep(0.01)
        both = time.monotonic()
        (folder / "go").touch()
        said = [process.communicate(timeout=PATIENCE) for process in members]
    assert [process.returncode for process in members] == [0, 0], said
    reports = [json.loads(out.splitlines()[-1]) for out, _ in said]
    study = study_in(folder)
    assert states(study).count(TrialState.COMPLETE) == sum(report["n_complete"] for report in reports) == total
    assert TrialState.RUNNING not in states(study)
    assert all(report["n_complete"] for report in reports)
    assert sorted(run.n_complete or 0 for run in runs_of(study)) == sorted(report["n_complete"] for report in reports)
    later = [at - both for at in server.arrivals if at > both]
    assert sum(at < 5.0 for at in later) <= 5 * rate + 2  # a rate of its own for each would be twice as many


def test_show_follows_a_run_until_ctrl_c(server: Answering, folder: Path) -> None:
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    )
    with Terminal(command("show", "study.journal", "s", "--watch", "--interval", "0.1"), folder=folder) as watching:
        watching.wait_for("rationale")
        with Terminal(run(server, "--n-trials", "2"), folder=folder) as terminal:
            watching.wait_for("RUNNING")
            watching.wait_for("running")
            (folder / "go").touch()
            watching.wait_for("COMPLETE")
            assert terminal.ended() == 0
        watching.wait_for("n_trials")
        watching.press(CTRL_C)
        assert watching.ended() == 0
        assert "Traceback" not in watching.text
    assert states(study) == [TrialState.COMPLETE] * 2


def test_the_dashboard_serves_until_ctrl_c(folder: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    url = f"sqlite:///{folder}/study.db"
    optuna.create_study(study_name="s", storage=url)
    with Terminal(command("dashboard", url, "--port", "0"), folder=folder) as terminal:
        terminal.wait_for("Hit Ctrl-C to quit")
        terminal.press(CTRL_C)
        assert terminal.ended() == 0
        assert "Traceback" not in terminal.text


def test_show_follows_into_a_pipe_with_one_document_a_change(folder: Path) -> None:
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    )
    words = command("show", "study.journal", "s", "--watch", "--interval", "0.1", "--json")
    with subprocess.Popen(words, cwd=folder, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"trials": [], "runs": []}
            study.add_trial(optuna.trial.create_trial(value=0.5))
            assert [row["value"] for row in json.loads(process.stdout.readline())["trials"]] == [0.5]
        finally:
            process.kill()
