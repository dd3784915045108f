"""RUNNING trials that nobody is known to run are named where they hold places of a total."""

from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import TrialState
from support import SPACE, sampler

from optuna_llm import RunReport, ask_async, optimize_async


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    return InMemoryStorage() if request.param == "memory" else RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")


def run(study: optuna.Study, **options: Any) -> RunReport:
    return anyio.run(lambda: optimize_async(study, lambda t: t.params["momentum"], search_space=SPACE, **options))


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [text for text in caplog.messages if "places of total_trials" in text]
    caplog.clear()
    return found


def test_leftovers_are_named_with_what_to_do_and_which_ends_them(
    storage: BaseStorage, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler())
    for _ in range(5):
        study.ask({"momentum": FloatDistribution(0, 1)})
    caplog.clear()
    report = run(study, total_trials=8)
    assert (report.stop_reason, report.n_complete) == ("occupied", 3)
    (line,) = named(caplog)
    assert line.startswith("Trials 0, 1, 2, 3, 4 are RUNNING")
    assert "hold 5 of the 8 places of total_trials" in line
    assert "study.tell(0, state=optuna.trial.TrialState.FAIL)" in line
    for number in range(5):
        study.tell(number, state=TrialState.FAIL)
    report = run(study, total_trials=8)
    assert (report.stop_reason, report.n_complete) == ("total_trials", 5)
    assert named(caplog) == []


def test_one_of_ask_async_is_named_too(storage: BaseStorage, caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler())
    anyio.run(lambda: ask_async(study, search_space=SPACE))
    assert run(study, total_trials=2).stop_reason == "occupied"
    (line,) = named(caplog)
    assert line.startswith("Trial 0 is RUNNING")


def test_one_that_appears_while_the_run_goes_on_is_named_at_its_end(
    storage: BaseStorage, caplog: pytest.LogCaptureFixture
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            study.ask()
        return 1.0

    study = optuna.create_study(storage=storage, sampler=sampler())
    report = anyio.run(lambda: optimize_async(study, objective, total_trials=3, search_space=SPACE))
    assert report.stop_reason == "occupied"
    (line,) = named(caplog)
    assert "RUNNING, of no run that is known here" in line


def test_of_many_the_first_are_named(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler())
    for _ in range(40):
        study.ask({"momentum": FloatDistribution(0, 1)})
    caplog.clear()
    run(study, total_trials=3)
    (line,) = named(caplog)
    assert line.startswith("Trials 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 more are RUNNING")


def test_without_a_total_they_hold_nothing(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler())
    study.ask({"momentum": FloatDistribution(0, 1)})
    run(study, n_trials=1)
    assert named(caplog) == []
