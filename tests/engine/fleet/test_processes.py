"""Several processes on one study: exact totals, nothing left behind by those that are killed, rates divided."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from counting_server import WINDOW, Counting
from fault_server import Received, Scripted, completion
from member_storage import opened
from optuna.trial import TrialState

MEMBER = Path(__file__).parents[2] / "member.py"


@contextmanager
def member(url: str, folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(MEMBER), url, str(folder), json.dumps(options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def diary(folder: Path) -> list[list[str]]:
    path = folder / "diary"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(folder: Path, count: int, process: subprocess.Popen[str], what: str = "began") -> None:
    until = time.monotonic() + 60
    while sum(entry[0] == what for entry in diary(folder)) < count and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def ended_well(process: subprocess.Popen[str], seconds: float = 120) -> None:
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors


def check(study: optuna.Study, folder: Path, total: int) -> None:
    """What must hold whenever all has ended."""
    trials = {trial.number: trial for trial in study.trials}
    states = Counter(trial.state for trial in trials.values())
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
    assert states[TrialState.COMPLETE] == total
    seen: set[str] = set()
    for trial in trials.values():
        recorded = trial.user_attrs.get("llm", {}).get("duplicate_of") is not None
        surplus = trial.user_attrs.get("failure", {}).get("type") == "Surplus"
        if trial.params and not recorded and not surplus and "retry_history" not in trial.system_attrs:
            assert str(trial.params) not in seen, "a duplicate that is not on record"
            seen.add(str(trial.params))
    began = Counter(int(entry[1]) for entry in diary(folder) if entry[0] == "began")
    assert set(began.values()) == {1}, "a trial was evaluated twice"
    for entry in diary(folder):
        if entry[0] == "told":
            assert str(trials[int(entry[1])].value) == entry[2]


@pytest.fixture
def url(tmp_path: Path, place: str, request: pytest.FixtureRequest) -> str:
    """Of a storage that several processes can use, by its name."""
    if place == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return f"journal:{tmp_path / 'study.log'}" if place == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["journal", "sqlite", "postgresql"])
@pytest.mark.parametrize("sampler", ["llm", "random"])
def test_killed_at_random_moments_and_started_again_a_study_comes_to_its_total(
    tmp_path: Path, url: str, place: str, sampler: str
) -> None:
    optuna.create_study(study_name="s", storage=opened(url))
    rng = random.Random(f"{place} {sampler}")
    options = {"total_trials": 60, "n_workers": 4, "retries": 1, "random": sampler == "random"}
    for _ in range(10 if sampler == "llm" else 5):
        with member(url, tmp_path, **options) as process:
            so_far = len([entry for entry in diary(tmp_path) if entry[0] == "began"])
            wait_for(tmp_path, so_far + rng.randint(0, 3), process)
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
    with member(url, tmp_path, **options) as process:
        ended_well(process)
    study = optuna.load_study(study_name="s", storage=opened(url))
    check(study, tmp_path, 60)
    logs = "".join(path.read_text() for path in tmp_path.glob("log-*"))
    assert "goes on: " in logs
    assert "of 60 wanted" in logs
    assert "died and left it RUNNING" in logs


@pytest.mark.parametrize("place", ["journal", "sqlite", "postgresql"])
def test_four_processes_share_one_total(tmp_path: Path, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=opened(url))
    for number in range(6):
        study.enqueue_trial({"lr": 0.001 * (number + 1)})
    with ExitStack() as stack:
        members = [
            stack.enter_context(member(url, tmp_path, total_trials=40, n_workers=4, prefetch=2, together=4))
            for _ in range(4)
        ]
        for process in members:
            ended_well(process)
    check(study, tmp_path, 40)
    assert len({entry[2] for entry in diary(tmp_path) if entry[0] == "began"}) == 4
    trials = study.trials
    assert sum(trial.user_attrs.get("failure", {}).get("type") == "Surplus" for trial in trials) <= 12
    assert sorted(trial.params["lr"] for trial in trials[:6]) == [0.001 * (number + 1) for number in range(6)]
    assert [entry[1] for entry in diary(tmp_path) if entry[0] == "ended"] == ["total_trials"] * 4


def test_who_waits_for_the_last_place_takes_it_when_its_holder_is_killed(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'study.log'}"
    study = optuna.create_study(study_name="s", storage=opened(url))
    with member(url, tmp_path, total_trials=1, n_workers=1, seconds=600) as holder:
        wait_for(tmp_path, 1, holder)
        with member(url, tmp_path, total_trials=1, n_workers=1) as other:
            until = time.monotonic() + 60
            while "goes on: 1 running elsewhere of 1 wanted" not in _log(tmp_path, other.pid):
                assert time.monotonic() < until
                time.sleep(0.05)
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            ended_well(other)
    check(study, tmp_path, 1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[0].user_attrs["failure"]["type"] == "RunDied"


REQUESTS_PER_MINUTE = 1200.0


@pytest.mark.slow
def test_four_processes_keep_one_rate_and_use_it(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'study.log'}"
    optuna.create_study(study_name="s", storage=opened(url))
    allowed = REQUESTS_PER_MINUTE * WINDOW / 60
    with ExitStack() as stack:
        server = stack.enter_context(Valid(allowed, cost=lambda _: 1.0))

        def join() -> None:
            options = {"n_trials": 10**6, "n_workers": 16, "requests_per_minute": REQUESTS_PER_MINUTE}
            process = stack.enter_context(member(url, tmp_path, api_base=server.url, seconds=0.01, **options))
            until = time.monotonic() + 90
            while f" {process.pid}" not in "".join(f" {entry[-1]}" for entry in diary(tmp_path)):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)

        for _ in range(3):
            join()
        time.sleep(WINDOW)  # what came before the others had joined has left the server's window
        before = server.violations
        join()
        time.sleep(WINDOW)
        refused = server.violations - before
        before, began = server.violations, len(server.arrivals)
        time.sleep(WINDOW + 2)
        first = server.arrivals[began][0]
        used = sum(first <= at < first + WINDOW for at, _ in server.arrivals) / allowed
        print(f"used {used:.3f}, refused at the join {refused}, later {server.violations - before}")  # noqa: T201
        assert refused <= 10
        assert server.violations - before <= 2
        assert 0.85 <= used <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "per_minute"), [(4, 240.0), (2, 600.0)])
def test_processes_that_start_cold_at_once_keep_the_rate_from_the_first_request_on(
    processes: int, per_minute: float, tmp_path: Path
) -> None:
    """All of them import LiteLLM for seconds, while the rate goes on."""
    url = f"journal:{tmp_path / 'study.log'}"
    optuna.create_study(study_name="s", storage=opened(url))
    with ExitStack() as stack:
        server = stack.enter_context(Valid(10**6, cost=lambda _: 1.0))
        options = {"n_workers": 16, "requests_per_minute": per_minute, "seconds": 0.05, "n_trials": 10**6}
        for _ in range(processes):
            stack.enter_context(member(url, tmp_path, api_base=server.url, **options))
        until = time.monotonic() + 90
        while not server.arrivals or time.monotonic() - server.arrivals[0][0] < 10:
            assert time.monotonic() < until
            time.sleep(0.05)
        arrivals = [at for at, _ in server.arrivals]
    first = arrivals[0]
    assert sum(at < first + 0.25 for at in arrivals) <= processes + per_minute / 60 / 4
    assert sum(at < first + 10 for at in arrivals) <= per_minute / 6 + processes


class Valid(Counting):
    """Answers with a new configuration each time."""

    def answer(self, request: Received) -> Scripted:
        scripted = super().answer(request)
        if scripted.status != 200:
            return scripted
        values = {"lr": 10 ** random.uniform(-5, -1), "momentum": 0.5, "layers": 3, "optimizer": '"adam"'}
        content = json.dumps({"rationale": "so", **values})
        return replace(completion(content), delay=scripted.delay)


def _log(folder: Path, pid: int) -> str:
    path = folder / f"log-{pid}"
    return path.read_text() if path.exists() else ""
