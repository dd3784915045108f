"""A storage that fails or stalls, at each of its calls in turn, loses no result silently."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from support import SPACE, SchemaModel, llm_sampler, optimize_with, sampler

from optuna_llm import AsyncTrial, OptunaLLMError, ProcessWorkers, optimize_async
from optuna_llm.engine.study.door import StudyDoor

CALLS = [
    name
    for name in dir(InMemoryStorage)
    if not name.startswith("_") and name.startswith(("get_", "set_", "create_", "check_"))
]
N_TRIALS = 4


class Wrapped(InMemoryStorage):
    """Counts its calls once a run has begun, and gives `length` of them, from one on, to `trouble`."""

    def __init__(self, trouble: Callable[[], None], at: int | None = None, length: int = 1) -> None:
        super().__init__()
        self.armed = False
        self.calls: list[str] = []
        self._trouble = trouble
        self._in_trouble = range(0) if at is None else range(at, at + length)
        self._inside = threading.local()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS or not self.armed:
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "depth", 0):  # what the storage does for itself is no call of ours
                return found(*args, **kwargs)
            self._inside.depth = 1
            try:
                self.calls.append(name)
                if len(self.calls) - 1 in self._in_trouble:
                    self._trouble()
                return found(*args, **kwargs)
            finally:
                self._inside.depth = 0

        return called


def plain(returned: dict[int, float]) -> Callable[[optuna.Trial], float]:
    """The same objective as a plain function, in a thread."""

    def objective(trial: optuna.Trial) -> float:
        trial.report(0.5, step=1)
        if trial.should_prune():
            raise optuna.TrialPruned
        trial.set_user_attr("epochs", 3)
        trial.report(0.25, step=2)
        returned[trial.number] = 100.0 + trial.number
        return returned[trial.number]

    return objective


def run(
    storage: Wrapped, seconds: float = 60.0, *, threads: bool = False, chosen: Any = None
) -> tuple[optuna.Study, dict[int, float], BaseException | None]:
    """The study, the values that objectives returned, and what the run raised."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=100)  # it reads the study, and prunes nothing
    study = optuna.create_study(storage=storage, sampler=chosen or sampler(SchemaModel()), pruner=pruner)
    study.enqueue_trial({"lr": 0.01})
    returned: dict[int, float] = {}

    async def objective(trial: AsyncTrial) -> float:
        trial.report(0.5, step=1)
        if await trial.should_prune():
            raise optuna.TrialPruned
        await trial.set_user_attr("epochs", 3)
        trial.report(0.25, step=2)
        returned[trial.number] = 100.0 + trial.number
        return returned[trial.number]

    error = None
    optimize = optimize_with(first_pause=0.0001, seconds=seconds)
    function = plain(returned) if threads else objective
    storage.armed = True
    try:
        anyio.run(lambda: optimize(study, function, total_trials=N_TRIALS, n_workers=2, search_space=SPACE, retries=1))
    except Exception as raised:
        error = raised
    storage.armed = False
    return study, returned, error


def count(*, threads: bool = False) -> int:
    storage = Wrapped(lambda: None)
    _, returned, error = run(storage, threads=threads)
    assert error is None
    assert len(returned) == N_TRIALS
    return len(storage.calls)


@pytest.fixture(autouse=True)
def with_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are storage calls, too."""
    monkeypatch.setattr(StudyDoor, "is_shareable", True)


@pytest.mark.slow
def test_one_failure_at_any_call_is_got_over_or_said(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OSError("the disk is full")

    ended = []
    for at in range(count()):
        caplog.clear()
        study, returned, error = run(Wrapped(fails, at))
        told = {trial.number: trial.value for trial in study.trials if trial.state is TrialState.COMPLETE}
        for number, value in returned.items():
            assert told.get(number) == value or (error and str(value) in caplog.text), (at, number)
        states = [trial.state for trial in study.trials]
        assert error is not None or states.count(TrialState.COMPLETE) == N_TRIALS, at
        assert TrialState.RUNNING not in states, at
        if error is not None:
            ended.append((at, error))
    assert all("disk is full" in str(error) for _, error in ended)
    assert not ended


@pytest.mark.slow
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("length", [2, 5, 9])
def test_a_storage_that_is_away_for_a_while_from_any_call_on_loses_no_evaluation(threads: bool, length: int) -> None:
    def away() -> None:
        raise ConnectionError("the server is restarting")

    for at in range(0, count(threads=threads), 3):
        study, returned, error = run(Wrapped(away, at, length), threads=threads)
        assert error is None, at
        finished = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
        assert {trial.number: trial.value for trial in finished} == returned, at
        assert len(returned) == N_TRIALS, at
        assert all(trial.intermediate_values == {1: 0.5, 2: 0.25} for trial in finished), at
        assert all(trial.user_attrs["epochs"] == 3 for trial in finished), at
        assert TrialState.RUNNING not in {trial.state for trial in study.trials}, at


def test_an_objective_in_a_process_of_its_own_waits_for_the_storage_too() -> None:
    class Restarting(InMemoryStorage):
        failures = iter([True, True, False, True])

        def set_trial_intermediate_value(self, *args: Any, **kwargs: Any) -> None:
            if next(self.failures, False):
                raise ConnectionError("the server is restarting")
            super().set_trial_intermediate_value(*args, **kwargs)

    def objective(trial: optuna.Trial) -> float:
        trial.report(0.5, step=1)
        trial.report(0.25, step=2)
        return 7.5

    study = optuna.create_study(storage=Restarting(), sampler=sampler(SchemaModel()))
    optimize = optimize_with(first_pause=0.001)
    with closing(ProcessWorkers(1)) as workers:
        anyio.run(lambda: optimize(study, objective, n_trials=1, workers=workers, search_space=SPACE))
    assert [trial.value for trial in study.trials] == [7.5]
    assert study.trials[0].intermediate_values == {1: 0.5, 2: 0.25}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_a_storage_that_is_away_ends_no_run_of_another_sampler(threads: bool, length: int) -> None:
    def away() -> None:
        raise ConnectionError("the server is restarting")

    for at in range(0, 150, 5):
        tpe = optuna.samplers.TPESampler(seed=1, n_startup_trials=1)
        study, returned, error = run(Wrapped(away, at, length), threads=threads, chosen=tpe)
        assert error is None, at
        states = [trial.state for trial in study.trials]
        finished = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
        assert {trial.number: trial.value for trial in finished} == returned, at
        assert (len(returned), states.count(TrialState.RUNNING)) == (N_TRIALS, 0), at


def test_an_objective_that_suggests_while_the_storage_is_away_waits_for_it() -> None:
    class Restarting(InMemoryStorage):
        """Away for objectives alone: a sampler's trial that meets it before its objective begins is given up."""

        calls = raised = 0

        def __getattribute__(self, name: str) -> Any:
            ours = threading.current_thread().name in ("optuna-llm storage", "optuna-llm helper", "MainThread")
            if name in ("set_trial_param", "get_trial", "get_all_trials") and not ours:
                type(self).calls += 1
                if type(self).calls % 10 > 7:
                    type(self).raised += 1
                    raise ConnectionError("the server is restarting")
            return super().__getattribute__(name)

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("k", 1, 9)

    study = optuna.create_study(storage=Restarting(), sampler=optuna.samplers.TPESampler(n_startup_trials=1))
    optimize = optimize_with(first_pause=0.0001)
    report = anyio.run(lambda: optimize(study, objective, n_trials=8, n_workers=2))
    assert (report.n_complete, report.n_failed) == (8, 0)
    assert Restarting.raised > 0


@pytest.mark.slow
def test_a_stall_at_any_call_ends_the_run_in_bounded_time_with_every_result(caplog: pytest.LogCaptureFixture) -> None:
    for at in range(count()):
        caplog.clear()
        release = threading.Event()
        storage = Wrapped(lambda release=release: release.wait(30) and None, at)  # type: ignore[misc]
        study, returned, error = run(storage, seconds=0.1)
        release.set()
        told = {trial.number: trial.value for trial in study.trials if trial.state is TrialState.COMPLETE}
        for number, value in returned.items():
            assert told.get(number) == value or str(value) in caplog.text, (at, number)
        assert error is None or isinstance(error, OptunaLLMError), (at, error)
        assert error is not None or len(told) == N_TRIALS, at


def test_what_is_lost_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    optimize = optimize_with(seconds=0.1)

    class Full(InMemoryStorage):
        def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
            raise OSError("the disk is full")

    study = optuna.create_study(storage=Full(), sampler=sampler())
    with pytest.raises(OptunaLLMError, match=r"value 7\.5"):
        anyio.run(lambda: optimize(study, lambda _: 7.5, n_trials=1, search_space=SPACE))
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("total", [None, 3])
@pytest.mark.parametrize("declared", [SPACE, None])
def test_a_trial_that_was_stored_by_a_failing_call_is_run_and_made_once(
    shared: bool, total: int | None, declared: Any
) -> None:
    optimize = optimize_with(first_pause=0.0)
    failures = iter([True, False, True])

    class Deaf(InMemoryStorage):
        def create_new_trial(self, *args: Any, **kwargs: Any) -> int:
            made = super().create_new_trial(*args, **kwargs)
            if next(failures, False):
                raise ConnectionError("the answer was lost")
            return made

    study = optuna.create_study(storage=Deaf(), sampler=sampler(SchemaModel(), search_space=SPACE))
    llm_sampler(study).door(study).sharing.was_shared = shared

    def objective(trial: optuna.Trial) -> float:
        values = [trial._suggest(name, distribution) for name, distribution in SPACE.items()]
        return float(len(values))

    report = anyio.run(
        lambda: optimize(study, objective, n_trials=3, total_trials=total, n_workers=1, search_space=declared)
    )
    assert report.n_complete == 3
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert all(trial.user_attrs["llm"]["duplicate_of"] is None for trial in study.trials)


def test_an_enqueued_trial_that_a_failing_call_made_running_is_run_once() -> None:
    class Deaf(InMemoryStorage):
        deaf = True

        def set_trial_state_values(self, trial_id: int, state: TrialState, *args: Any, **kwargs: Any) -> bool:
            taken = super().set_trial_state_values(trial_id, state, *args, **kwargs)
            if state is TrialState.RUNNING and self.deaf:
                self.deaf = False
                raise ConnectionError("the answer was lost")
            return taken

    study = optuna.create_study(storage=Deaf(), sampler=sampler(SchemaModel()))
    study.enqueue_trial({"lr": 0.0123})
    optimize = optimize_with(first_pause=0.0)
    report = anyio.run(lambda: optimize(study, lambda t: t.params["lr"], total_trials=2, search_space=SPACE))
    assert report.n_complete == 2
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.trials[0].value == 0.0123


@pytest.mark.parametrize("name", ["report", "set_user_attr"])
def test_a_queued_call_that_is_wrong_is_not_tried_again(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def objective(trial: AsyncTrial) -> float:
        getattr(trial, name)("not a number", object())
        return 1.0

    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", sampler=sampler(SchemaModel()))
    with pytest.raises(TypeError):
        anyio.run(lambda: optimize_async(study, objective, n_trials=3, search_space=SPACE))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]
    assert "trying again" not in caplog.text


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_a_result_whose_reports_find_no_storage_is_in_the_error(seconds: float) -> None:
    class Gone(InMemoryStorage):
        gone = False

        def set_trial_intermediate_value(self, *args: Any, **kwargs: Any) -> None:
            self.gone = True
            raise ConnectionError("gone for good")

        def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
            if self.gone:
                raise ConnectionError("gone for good")
            return super().set_trial_state_values(*args, **kwargs)

    async def objective(trial: AsyncTrial) -> float:
        trial.report(0.1, step=1)
        await anyio.lowlevel.checkpoint()
        return 7.5

    study = optuna.create_study(storage=Gone(), sampler=sampler())
    optimize = optimize_with(first_pause=0.01, seconds=seconds)
    with pytest.raises(OptunaLLMError, match=r"trial 0 within.*gone for good.*value 7\.5"):
        anyio.run(lambda: optimize(study, objective, n_trials=2, search_space=SPACE))


@pytest.mark.parametrize("threads", [False, True])
def test_a_storage_that_is_gone_ends_the_run_whatever_is_caught(threads: bool) -> None:
    class Gone(InMemoryStorage):
        def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
            if key == "epochs":
                raise ConnectionError("gone for good")
            super().set_trial_user_attr(trial_id, key, value)

    async def objective(trial: AsyncTrial) -> float:
        await trial.set_user_attr("epochs", 1)
        return 1.0

    def plain(trial: optuna.Trial) -> float:
        trial.set_user_attr("epochs", 1)
        return 1.0

    study = optuna.create_study(storage=Gone(), sampler=sampler())
    optimize = optimize_with(first_pause=0.01, seconds=0.1)
    options = {"n_trials": 9, "catch": Exception, "search_space": SPACE}
    with pytest.raises(OptunaLLMError, match="gone for good"):
        anyio.run(lambda: optimize(study, plain if threads else objective, **options))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_pruner_s_own_error_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            raise ConnectionError("a service of the pruner's")

    async def objective(trial: AsyncTrial) -> float:
        await trial.should_prune()
        return 1.0

    study = optuna.create_study(sampler=sampler(), pruner=Broken())
    for function in (objective, lambda trial: float(trial.should_prune())):
        with pytest.raises(ConnectionError, match="of the pruner"):
            anyio.run(lambda function=function: optimize_async(study, function, n_trials=1, search_space=SPACE))  # type: ignore[misc]
    assert "trying again" not in caplog.text
