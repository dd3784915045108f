"""What runs did is in the study, and is read back whatever else stands there."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE, SchemaModel, llm_sampler, sampler

from optuna_llm import Budget, RunReport, optimize_async
from optuna_llm.engine.fleet.leases import Lease
from optuna_llm.engine.fleet.runs import RunRecord, runs_of
from optuna_llm.engine.process import Process, this_process

DEAD = Process(host=this_process().host, pid=this_process().pid, started="before this one")


@pytest.fixture(params=["memory", "journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    match request.param:
        case "memory":
            yield InMemoryStorage()
        case "journal":
            yield JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        case "sqlite":
            rdb = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
            yield rdb
            rdb.engine.dispose()


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
        "killed": "unknown",
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
