"""What runs did is in the study, and is read back whatever else stands there."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState, create_trial
from support import SPACE, SchemaModel, llm_sampler, sampler

from optuna_llm import Budget, RunReport, optimize_async
from optuna_llm.engine.fleet import lease_keeper
from optuna_llm.engine.fleet.lease_keeper import LeaseKeeper
from optuna_llm.engine.fleet.leases import Lease
from optuna_llm.engine.fleet.runs import RunRecord, runs_of
from optuna_llm.engine.process import Process, this_process

DEAD = Process(host=this_process().host, pid=this_process().pid, started="before this one")


def run(study: optuna.Study, objective: Callable[[optuna.Trial], float] = lambda trial: 1.0, **options: Any) -> Any:
    return anyio.run(lambda: optimize_async(study, objective, search_space=SPACE, **options))


def told(record: RunRecord) -> tuple[str, int | None, int | None, int | None]:
    return record.stop_reason, record.n_complete, record.n_pruned, record.n_failed


def test_each_run_leaves_what_it_did_and_its_report_says_the_same(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    reports: list[RunReport] = [run(study, n_trials=3, n_workers=2), run(study, n_trials=1)]
    first, second = runs_of(study)
    assert [told(first), told(second)] == [("n_trials", 3, 0, 0), ("n_trials", 1, 0, 0)]
    assert [first.seconds, second.seconds] == [round(report.seconds, 3) for report in reports]
    last = max(trial.datetime_complete for trial in study.trials[:3] if trial.datetime_complete)
    assert first.ended is not None
    assert abs(first.ended - last) < timedelta(minutes=1)  # in the same clock, of no zone
    assert {trial.user_attrs["llm"]["run"] for trial in study.trials} == {first.run, second.run}


def test_a_run_that_raises_and_one_without_money_say_so() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))

    def broken(trial: optuna.Trial) -> float:
        raise ZeroDivisionError(trial.number)

    with pytest.raises(ZeroDivisionError):
        run(study, broken, n_trials=3)
    study.sampler = sampler(SchemaModel(), budget=Budget(requests=1))
    run(study)
    assert [told(record) for record in runs_of(study)] == [("error", 0, 0, 1), ("budget", 0, 0, 0)]


def test_a_run_of_another_sampler_is_on_record_and_study_optimize_is_not() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert runs_of(study) == []
    run(study, n_trials=2)
    assert [told(record) for record in runs_of(study)] == [("n_trials", 2, 0, 0)]


def test_the_end_of_a_run_is_one_write_and_no_model_is_shown_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    door = llm_sampler(study).door(study)
    written: list[str] = []
    real = study._storage.set_study_user_attr

    def spy(study_id: int, name: str, value: Any) -> None:
        written.append(name)
        real(study_id, name, value)

    monkeypatch.setattr(study._storage, "set_study_user_attr", spy)
    run(study, n_trials=2)
    (record,) = runs_of(study)
    assert written == [f"llm_run:{record.run}"]
    run(study, n_trials=1)
    assert record.run not in model.prompts[-1]
    assert f"llm_run:{record.run}" in door.refresh().attributes


def test_of_a_run_that_wrote_no_end_it_is_said_whether_it_is_known_to_live() -> None:
    study = optuna.create_study()
    leases = [
        Lease(run="killed", process=DEAD, at=time.time()),
        Lease(run="lives", process=this_process(), at=time.time()),
        Lease(run="elsewhere", process=Process(host="elsewhere", pid=1, started=""), at=time.time()),
    ]
    for lease in leases:
        study.set_user_attr(lease.name, lease.document())
    study.set_user_attr("llm_run:once", {"ended": True})  # by an earlier version
    assert {record.run: record.stop_reason for record in runs_of(study)} == {
        "killed": "died",
        "lives": "running",
        "elsewhere": "unknown",
        "once": "unknown",
    }


@pytest.mark.parametrize("value", [7, None, ["a"], {}, {"stop_reason": 7, "ended": "never", "n_complete": [1]}])
def test_what_others_wrote_of_our_name_is_unknown(value: Any) -> None:
    study = optuna.create_study()
    study.set_user_attr("llm_run:x", value)
    assert [told(record) for record in runs_of(study)] == [("unknown", None, None, None)] * isinstance(value, dict)


def test_a_time_that_no_calendar_has_is_unknown() -> None:
    study = optuna.create_study()
    study.set_user_attr("llm_run:x", {"ended": 9e14, "stop_reason": "stop"})
    assert [(record.ended, record.stop_reason) for record in runs_of(study)] == [(None, "stop")]


def left_by_a_killed_run(study: optuna.Study, process: Process) -> Lease:
    """A lease, and three trials of its run: one that ended well after the lease was written, and one that runs."""
    lease = Lease(run="killed", process=process, at=time.time() - 100)
    study.set_user_attr(lease.name, lease.document())
    record = {"run": "killed", "worker": 0}
    for value, state in ((1.0, TrialState.COMPLETE), (2.0, TrialState.PRUNED), (None, TrialState.RUNNING)):
        trial = create_trial(state=state, value=value, user_attrs={"llm": record})
        trial.datetime_start = datetime.fromtimestamp(lease.at)  # noqa: DTZ006  # as Optuna's times are
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=7) if state.is_finished() else None
        study.add_trial(trial)
    return lease


def test_a_run_whose_process_is_gone_died_at_its_last_sign_of_life() -> None:
    study = optuna.create_study()
    lease = left_by_a_killed_run(study, DEAD)
    (record,) = runs_of(study)
    assert told(record) == ("died", 1, 1, 0)
    assert record.ended is not None
    assert record.ended.timestamp() == pytest.approx(lease.at + 7, abs=0.2)


def test_the_run_that_cleans_up_after_a_dead_one_writes_that_it_died(
    storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "is_alive", lambda process: process.host != "elsewhere")  # so the cleaner sees it
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    lease = left_by_a_killed_run(study, Process(host="elsewhere", pid=1, started=""))
    keeper = LeaseKeeper(llm_sampler(study).door(study), run="cleaner")
    keeper.write()
    assert keeper.reap_dead() == 1
    monkeypatch.undo()  # nobody can look at that process: what is written counts
    by_run = {record.run: record for record in runs_of(study)}
    assert told(by_run["killed"]) == ("died", 1, 1, 1)
    assert by_run["killed"].ended is not None
    assert by_run["killed"].ended.timestamp() == pytest.approx(lease.at + 7, abs=0.2)
    assert told(by_run["cleaner"])[0] == "running"


def test_a_run_that_was_given_up_too_early_lives_again_with_its_next_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler(SchemaModel()))
    door = llm_sampler(study).door(study)
    paused, other = LeaseKeeper(door, run="paused"), LeaseKeeper(door, run="other")
    paused.write()
    other.write()
    with monkeypatch.context() as away:
        away.setattr(Process, "is_alive", lambda _: False)
        other.reap_dead()
    assert {record.run: record.stop_reason for record in runs_of(study)} == {"paused": "died", "other": "running"}
    paused.write()
    assert {record.run: record.stop_reason for record in runs_of(study)} == {"paused": "running", "other": "running"}


def test_a_lease_that_is_renewed_while_its_run_is_given_up_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler(SchemaModel()))
    left_by_a_killed_run(study, this_process())
    other = LeaseKeeper(llm_sampler(study).door(study), run="other")
    renewed = Lease(run="killed", process=this_process(), at=time.time())

    def reap_and_renew(*args: Any, **options: Any) -> bool:
        study.set_user_attr(renewed.name, renewed.document())
        return True

    monkeypatch.setattr(Process, "is_alive", lambda _: False)
    monkeypatch.setattr(lease_keeper, "reap", reap_and_renew)
    other.reap_dead()
    assert study.user_attrs[renewed.name] == renewed.document()
