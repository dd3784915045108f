"""A storage that fails or stalls, at each of its calls in turn, loses no result silently."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from support import SPACE, SchemaModel, llm_sampler, optimize_with, sampler

from optuna_llm import AsyncTrial, OptunaLLMError
from optuna_llm.engine.study.door import StudyDoor

CALLS = [
    name
    for name in dir(InMemoryStorage)
    if not name.startswith("_") and name.startswith(("get_", "set_", "create_", "check_"))
]
N_TRIALS = 4


class Wrapped(InMemoryStorage):
    """Counts its calls once a run has begun, and gives one of them to `trouble`."""

    def __init__(self, trouble: Callable[[], None], at: int | None = None) -> None:
        super().__init__()
        self.armed = False
        self.calls: list[str] = []
        self._trouble = trouble
        self._at = at
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
                if len(self.calls) - 1 == self._at:
                    self._trouble()
                return found(*args, **kwargs)
            finally:
                self._inside.depth = 0

        return called


def run(storage: Wrapped, seconds: float = 60.0) -> tuple[optuna.Study, dict[int, float], BaseException | None]:
    """The study, the values that objectives returned, and what the run raised."""
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    study.enqueue_trial({"lr": 0.01})
    returned: dict[int, float] = {}

    async def objective(trial: AsyncTrial) -> float:
        await anyio.lowlevel.checkpoint()
        returned[trial.number] = 100.0 + trial.number
        return returned[trial.number]

    error = None
    optimize = optimize_with(first_pause=0.001, seconds=seconds)
    storage.armed = True
    try:
        anyio.run(lambda: optimize(study, objective, total_trials=N_TRIALS, n_workers=2, search_space=SPACE, retries=1))
    except Exception as raised:
        error = raised
    storage.armed = False
    return study, returned, error


def count() -> int:
    storage = Wrapped(lambda: None)
    _, returned, error = run(storage)
    assert error is None
    assert len(returned) == N_TRIALS
    return len(storage.calls)


@pytest.fixture(autouse=True)
def with_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are storage calls, too."""
    monkeypatch.setattr(StudyDoor, "is_shareable", True)


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
