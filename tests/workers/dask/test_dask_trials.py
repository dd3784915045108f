"""Plain objectives on a Dask cluster: what a trial can do there, and that whatever goes wrong costs one trial."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from objectives import failure
from optuna.trial import FrozenTrial, TrialState
from processes import ends
from support import SPACE, sampler

from optuna_llm import DaskWorkers, RunReport, ThreadWorkers, UsageError, optimize_async
from optuna_llm.workers.dask import workers as dask_module

KEY = "sk-model-key-0123456789"


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskWorkers]:
    """Two workers of one thread, on a cluster whose processes are started while a key is in the environment."""
    os.environ["OPENAI_API_KEY"] = KEY
    two = DaskWorkers(slots=2)
    run(two, lambda trial: 1.0, n_trials=2)
    del os.environ["OPENAI_API_KEY"]
    yield two
    two.close()


def run(
    workers: Any, objective: Callable[[Any], Any], n_trials: int = 1, backend: str = "asyncio", **options: Any
) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=sampler(), pruner=optuna.pruners.ThresholdPruner(upper=2.5))
    o = {"n_trials": n_trials, "search_space": SPACE, "workers": workers, **options}
    anyio.run(lambda: optimize_async(study, objective, **o), backend=backend)
    return study.trials


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_study_is_the_same_as_with_threads(workers: DaskWorkers, backend: str) -> None:
    offset = 3

    def objective(trial: Any) -> float:
        layers = trial.suggest_int("layers", 1, 9, step=2)
        trial.suggest_categorical("optimizer", ("adam", "sgd", None))
        trial.set_user_attr("twice", 2 * layers)
        for step in range(2):
            trial.report(float(trial.number + step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        if trial.number == 1:
            raise ConnectionError("the node is gone")
        assert trial.params["layers"] == layers == trial.user_attrs["twice"] / 2
        return float(layers + offset)

    def outline(trials: list[FrozenTrial]) -> Any:
        told = ("twice", "failure")
        attributes = [
            {
                name: {**value, "traceback": ""} if name == "failure" else value
                for name, value in trial.user_attrs.items()
                if name in told
            }
            for trial in trials
        ]
        states = [(trial.state, trial.value, trial.params, trial.intermediate_values) for trial in trials]
        return list(zip(states, attributes, strict=True))

    options: dict[str, Any] = {"n_trials": 4, "n_workers": 1, "catch": ConnectionError}
    there = run(workers, objective, backend=backend, **options)
    assert {trial.state for trial in there} == {TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED}
    assert outline(there) == outline(run(ThreadWorkers(1), objective, **options))


def test_a_timeout_kills_the_objective_and_all_that_it_started(workers: DaskWorkers, tmp_path: Path) -> None:
    said = tmp_path / "pids"

    def objective(trial: Any) -> float:
        if trial.number == 0:
            said.write_text(f"{os.getpid()} {subprocess.Popen(['sleep', '60']).pid}")
            while True:
                pass
        return 1.0

    trials = run(workers, objective, n_trials=5, trial_timeout=1)
    assert failure(trials) == "TimeoutError: the objective ran longer than trial_timeout=1 s"
    assert sum(trial.state is TrialState.COMPLETE for trial in trials) == 4
    assert all(ends(number) for number in said.read_text().split())


def test_waiting_for_a_free_thread_does_not_count_for_the_timeout(workers: DaskWorkers) -> None:
    def objective(trial: Any) -> float:
        time.sleep(0.3)
        return 1.0

    trials = run(workers, objective, n_trials=8, n_workers=8, trial_timeout=0.9)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8


def test_a_crash_fails_its_trial_and_no_other(workers: DaskWorkers) -> None:
    def objective(trial: Any) -> float:
        if trial.number == 1:
            os.write(1, b"about to leave\n")
            os._exit(3)
        return 1.0

    trials = run(workers, objective, n_trials=4)
    assert "exit code 3" in failure(trials)
    assert "about to leave" in failure(trials)
    assert sum(trial.state is TrialState.COMPLETE for trial in trials) == 3


def test_a_trial_whose_worker_is_killed_is_run_again_and_its_reports_count_once(
    workers: DaskWorkers, tmp_path: Path
) -> None:
    here = tmp_path / "killed"

    def objective(trial: Any) -> float:
        trial.report(2.0 if here.exists() else 1.0, 0)
        if trial.number == 1 and not here.exists():
            here.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        trial.report(0.5, 1)
        return 1.0

    trials = run(workers, objective, n_trials=4, trial_timeout=30)
    assert here.exists()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert trials[1].intermediate_values == {0: 1.0, 1: 0.5}


def test_an_objective_may_stop_the_study(workers: DaskWorkers) -> None:
    reports: list[RunReport] = []
    study = optuna.create_study(sampler=sampler())

    def objective(trial: Any) -> float:
        trial.study.stop()
        return 1.0

    async def main() -> None:
        reports.append(await optimize_async(study, objective, n_trials=50, search_space=SPACE, workers=workers))

    anyio.run(main)
    assert reports[0].stop_reason == "stop"
    assert len(study.trials) < 10


def test_what_cannot_be_pickled_is_named(workers: DaskWorkers) -> None:
    lock = threading.Lock()

    def objective(trial: Any) -> float:
        with lock:
            return 1.0

    with pytest.raises(UsageError, match="objective' cannot be sent to another process"):
        run(workers, objective)


def test_keys_of_models_are_in_no_process_of_the_cluster(workers: DaskWorkers) -> None:
    def objective(trial: Any) -> float:
        process, found = os.getpid(), 0
        while process > 1:
            if b"distributed" in (command := Path(f"/proc/{process}/cmdline").read_bytes()) or b"dask" in command:
                found += 1
                assert b"sk-model-key" not in Path(f"/proc/{process}/environ").read_bytes()
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        assert not any("sk-model-key" in value for value in os.environ.values())
        return float(found)

    assert run(workers, objective)[0].value is not None


def test_cancelling_a_run_ends_its_objectives_and_leaves_nothing_running(workers: DaskWorkers, tmp_path: Path) -> None:
    study = optuna.create_study(sampler=sampler())

    def objective(trial: Any) -> float:
        (tmp_path / str(os.getpid())).touch()
        while True:
            pass

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: optimize_async(study, objective, n_trials=2, search_space=SPACE, workers=workers))
            while len(os.listdir(tmp_path)) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.05)
            group.cancel_scope.cancel()

    anyio.run(main)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert all(ends(path.name) for path in tmp_path.iterdir())
    assert run(workers, lambda trial: 1.0, n_trials=2, trial_timeout=20)[0].state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client": "tcp://127.0.0.1:8786"}, "client must be a distributed.Client"),
        ({"slots": 0}, "slots must be"),
        ({"resources": {"GPU": 1}}, "pass the client"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DaskWorkers(**options)


def test_an_amount_of_a_resource_must_be_a_number() -> None:
    with pytest.raises(UsageError, match=r"resources\['GPU'\] must be a positive number"):
        dask_module._resources({"GPU": 0})
