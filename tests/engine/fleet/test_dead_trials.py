"""A trial that fails with retries left is tried again exactly once, whoever dies when, and whatever a storage does."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE, SchemaModel, optimize_with, sampler

from optuna_llm import optimize_async
from optuna_llm.engine.fleet import lease_keeper
from optuna_llm.engine.fleet.dead_trials import owed_retries
from optuna_llm.engine.fleet.lease_keeper import LeaseKeeper
from optuna_llm.engine.fleet.runs import end_document
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.engine.study.snapshot import Snapshot

END = end_document(stop_reason="stop", seconds=1.0, n_complete=1, n_pruned=0, n_failed=0)
TOTAL = 4


class Killed(SystemExit):
    """The process is dead."""


class Dying(JournalStorage):
    """Takes so many writes and no more, as if its process had been killed."""

    def __init__(self, backend: Any, writes: int) -> None:
        super().__init__(backend)
        self.left = writes

    def _write_log(self, *args: Any) -> None:
        self.left -= 1
        if self.left < 0:
            if threading.current_thread().name == "optuna-llm books":  # the process lives, and so does its model's loop
                raise OSError("the process is dead")
            raise Killed
        super()._write_log(*args)


def run(path: Path, storage: JournalStorage) -> tuple[optuna.Study, list[int]]:
    study = optuna.load_study(study_name="s", storage=storage, sampler=sampler(SchemaModel()))
    evaluated: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        evaluated.append(trial.number)
        if trial.number in (0, 2, 5):
            raise ConnectionError("the cluster lost the node")
        return float(trial.number)

    options: dict[str, Any] = {"total_trials": TOTAL, "n_workers": 2, "retries": 1, "catch": ConnectionError}
    anyio.run(lambda: optimize_async(study, objective, search_space=SPACE, **options))
    return study, evaluated


def tries(trials: list[FrozenTrial]) -> dict[int, int]:
    """How often each failed trial, that was no retry itself, is tried again."""
    histories = [tuple(trial.system_attrs.get("retry_history", ())) for trial in trials]
    failed = [t.number for t in trials if t.state is TrialState.FAIL and "retry_history" not in t.system_attrs]
    surplus = {t.number for t in trials if t.user_attrs.get("failure", {}).get("type") == "Surplus"}
    return {number: histories.count((number,)) for number in failed if number not in surplus}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(3))
def test_killed_after_any_of_its_writes_a_run_loses_no_retry(tmp_path: Path, first: int) -> None:
    for writes in range(first, 100, 3):
        path = tmp_path / f"{writes}.log"
        optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
        dying = Dying(JournalFileBackend(str(path)), writes)
        with suppress(BaseException):  # whatever comes of it, its process is no more
            run(path, dying)
        study, _ = run(path, JournalStorage(JournalFileBackend(str(path))))
        states = [trial.state for trial in study.trials]
        assert states.count(TrialState.COMPLETE) == TOTAL, writes
        assert TrialState.RUNNING not in states, writes
        # what failed as the total was reached still waits for a run that wants more
        assert set(tries(study.trials).values()) <= {1}, (writes, tries(study.trials))
        if dying.left >= 0:
            return  # it came to its end


def owed(study: optuna.Study, by: str = "dead") -> None:
    """A failed trial that a run was to enqueue anew."""
    attributes = {"optuna_llm:retry_by": by}
    study.add_trial(create_trial(state=TrialState.FAIL, system_attrs=attributes, user_attrs={"llm": {"run": by}}))


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("b", "a")])
def test_two_that_look_at_once_enqueue_it_once(one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_keeper, "CONFLICT_SECONDS", 0.0)
    study = optuna.create_study()
    owed(study)
    first, second = (LeaseKeeper(StudyDoor(study), run=run, retries=1) for run in (one, other))
    retry = first.door.retry

    def retry_after_the_other_looked(trial: FrozenTrial, retries: int) -> bool:
        second.reap_dead()
        return retry(trial, retries)

    monkeypatch.setattr(first.door, "retry", retry_after_the_other_looked)
    first.reap_dead()
    second.reap_dead()
    first.reap_dead()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    waiting = study.trials[1]
    assert waiting.system_attrs == {"failed_trial": 0, "retry_history": [0]}


def test_who_allows_no_retries_enqueues_nothing() -> None:
    study = optuna.create_study()
    owed(study)
    LeaseKeeper(StudyDoor(study), run="r", retries=0).reap_dead()
    assert len(study.trials) == 1


def test_a_run_that_lives_keeps_its_word_itself() -> None:
    study = optuna.create_study()
    living = LeaseKeeper(StudyDoor(study), run="lives", retries=1)
    living.write()
    owed(study, by="lives")
    other = LeaseKeeper(StudyDoor(study), run="other", retries=1)
    other.reap_dead()
    assert len(study.trials) == 1
    living.stop(END)
    other.reap_dead()
    assert len(study.trials) == 2


def trial(number: int, state: TrialState = TrialState.FAIL, by: Any = None, **more: Any) -> FrozenTrial:
    attributes = {} if by is None else {"optuna_llm:retry_by": by}
    value = 1.0 if state is TrialState.COMPLETE else None
    system_attrs = {**attributes, **more.pop("system_attrs", {})}
    one = create_trial(state=state, system_attrs=system_attrs, user_attrs=more, value=value)
    one.number = number
    return one


def test_what_is_owed_is_what_nobody_did() -> None:
    again = {"retry_history": [2]}
    now = Snapshot(
        finished=(
            trial(6, by="dead"),
            trial(0),  # nobody promised
            trial(1, by="lives"),
            trial(2, by="dead"),  # waits already
            trial(3, by="dead"),  # its result came late
            trial(4, by="dead", system_attrs={"retry_history": [0]}),  # tried often enough
            trial(5, by={"odd": 1}),
            trial(7, TrialState.COMPLETE, by="dead"),
            trial(8, TrialState.COMPLETE, late_result_of=3),
            trial(9, by="dead"),
        ),
        waiting=(trial(10, TrialState.WAITING, system_attrs=again),),
    )
    assert [one.number for one in owed_retries(now, 1, lambda run: run == "lives")] == [6, 9]
    assert [one.number for one in owed_retries(now, 2, lambda run: False)] == [1, 4, 6, 9]
    assert owed_retries(now, 0, lambda run: False) == []


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_storage_that_fails_when_a_trial_is_enqueued_anew_gets_it_once(stored: bool, times: int) -> None:
    class Failing(InMemoryStorage):
        left = times

        def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
            anew = template_trial is not None and template_trial.state is TrialState.WAITING
            made = super().create_new_trial(study_id, template_trial) if stored or not (anew and self.left) else -1
            if anew and self.left:
                self.left -= 1
                raise ConnectionError("the server is restarting")
            return made

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            raise ValueError("flaky")
        return 1.0

    study = optuna.create_study(storage=Failing(), sampler=sampler(SchemaModel()))
    optimize = optimize_with(first_pause=0.001)
    options = {"n_trials": 3, "retries": 1, "catch": ValueError, "search_space": SPACE}
    anyio.run(lambda: optimize(study, objective, **options))
    assert tries(study.trials) == {0: 1}
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] + [TrialState.COMPLETE] * 2
