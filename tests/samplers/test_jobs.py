"""`study.optimize(n_jobs=...)` raises what `n_jobs=1` would, whichever trial met it."""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from support import SchemaModel, Script, sampler

from optuna_llm import (
    AuthenticationError,
    Budget,
    BudgetExhaustedError,
    ModelNotFoundError,
    OptunaLLMError,
    ProposalError,
    QuotaExceededError,
    UsageError,
)

SPACE = {"x": FloatDistribution(0, 1)}
JOBS = [1, 2, 8, -1]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


def suggest(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def study_of(model: Any, **options: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler(model, search_space=SPACE, max_reasks=0, **options))


@pytest.mark.parametrize("n_jobs", JOBS)
@pytest.mark.parametrize("n_trials", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize(
    "error", [AuthenticationError("no"), QuotaExceededError("no"), ModelNotFoundError("no"), KeyError("mine")], ids=repr
)
def test_a_refusal_is_raised_however_many_trials_are_left(n_jobs: int, n_trials: int, error: Exception) -> None:
    study = study_of(Script(error))
    with pytest.raises(type(error)):
        study.optimize(suggest, n_trials=n_trials, n_jobs=n_jobs)
    assert len(study.trials) <= 2 * max(n_jobs, 8)


@pytest.mark.parametrize("space", [SPACE, None], ids=["declared", "discovered"])
def test_of_the_frames_of_an_error_of_the_model_two_are_ours(space: dict[str, Any] | None) -> None:
    """Optuna logs them all, and Python prints them again."""
    study = optuna.create_study(sampler=sampler(Script(AuthenticationError("no API key")), search_space=space))
    with pytest.raises(AuthenticationError, match="no API key") as caught:
        study.optimize(suggest, n_trials=3)
    at_optunas_edge = [entry.name for entry in caught.traceback][-2:]
    assert at_optunas_edge == ["sample_relative" if space else "sample_independent", "propose_for"]
    assert "optuna_llm" not in caught.traceback[-3].frame.f_globals["__name__"]


@pytest.mark.parametrize("n_jobs", JOBS)
@pytest.mark.parametrize("requests", [0, 1, 7, 15])
def test_a_budget_that_is_spent_is_raised_when_the_results_are_told(n_jobs: int, requests: int) -> None:
    study = study_of(SchemaModel(), budget=Budget(requests=requests))
    with pytest.raises(BudgetExhaustedError):
        study.optimize(suggest, n_trials=requests + 1, n_jobs=n_jobs)
    states = [trial.state for trial in study.trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == requests
    assert optuna.trial.TrialState.RUNNING not in states


@pytest.mark.parametrize("n_jobs", JOBS)
def test_useless_replies_in_the_last_trials_are_raised(n_jobs: int) -> None:
    study = study_of(Script({"rationale": "", "x": 0.5}, "nonsense"))
    with pytest.raises(ProposalError):
        study.optimize(suggest, n_trials=3, n_jobs=n_jobs)


async def coroutine(trial: optuna.Trial) -> float:
    return 1.0


@pytest.mark.parametrize("n_jobs", JOBS)
def test_a_wrong_call_is_raised(n_jobs: int) -> None:
    study = study_of(SchemaModel())
    with pytest.raises(UsageError, match="async objective"):
        study.optimize(coroutine, n_trials=2, n_jobs=n_jobs, catch=ValueError)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_jobs", JOBS)
@pytest.mark.parametrize("n_trials", [1, 4, 30])
def test_a_name_outside_the_declared_space_is_raised(n_jobs: int, n_trials: int) -> None:
    study = study_of(SchemaModel())
    with pytest.raises(UsageError, match="'z'"):
        study.optimize(lambda trial: trial.suggest_float("z", 0, 1), n_trials=n_trials, n_jobs=n_jobs)


@pytest.mark.parametrize("n_jobs", JOBS)
@pytest.mark.parametrize("catch", [OptunaLLMError, (KeyError, Exception)])
def test_what_catch_names_stops_the_run_and_is_not_raised(n_jobs: int, catch: Any) -> None:
    study = study_of(SchemaModel(), budget=Budget(requests=3))
    study.optimize(suggest, n_trials=100, n_jobs=n_jobs, catch=catch)
    assert 3 < len(study.trials) < 40


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_what_an_objective_has_caught_is_not_raised(n_jobs: int) -> None:
    def patient(trial: optuna.Trial) -> float:
        try:
            return suggest(trial)
        except ProposalError:
            return 0.0

    study = study_of(Script("nonsense"))
    study.optimize(patient, n_trials=4, n_jobs=n_jobs)
    assert len(study.trials) == 4


def test_an_objectives_own_error_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()  # Optuna has seen the error of the first trial, and the others fail after that

    def wait(*args: Any, **options: Any) -> Any:
        found = concurrent.futures.wait(*args, **options)
        looked.set()
        return found

    def objective(trial: optuna.Trial) -> float:
        return 1 / 0 if trial.number == 0 else suggest(trial)

    async def model(request: Any) -> Any:
        assert await asyncio.to_thread(looked.wait, 10)
        raise AuthenticationError("no")

    monkeypatch.setattr("optuna.study._optimize.wait", wait)
    study = study_of(model)
    with pytest.raises(ZeroDivisionError) as caught:
        study.optimize(objective, n_trials=20, n_jobs=4)
    assert caught.value.__context__ is None


def test_an_error_of_an_inner_run_is_raised_there_alone() -> None:
    caught: list[OptunaLLMError] = []

    def outer(trial: optuna.Trial) -> float:
        inner = study_of(Script(AuthenticationError("no")))
        try:
            inner.optimize(suggest, n_trials=2, n_jobs=4)
        except AuthenticationError as error:
            caught.append(error)
        return 1.0

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    study.optimize(outer, n_trials=2, n_jobs=2)
    assert len(caught) == 2
    assert len(study.trials) == 2


def test_a_run_that_follows_raises_nothing_of_the_one_before() -> None:
    def again(study: optuna.Study, run: Callable[[], None]) -> None:
        try:
            run()
        except BudgetExhaustedError:
            study.sampler = optuna.samplers.RandomSampler()
            study.optimize(suggest, n_trials=3, n_jobs=2)  # inside the handler, where the error still passes
            study.sampler = sampler(Script(AuthenticationError("no")), search_space=SPACE)
            with pytest.raises(AuthenticationError):
                study.optimize(suggest, n_trials=3, n_jobs=4)

    study = study_of(SchemaModel(), budget=Budget(requests=2))
    again(study, lambda: study.optimize(suggest, n_trials=9, n_jobs=4))
    assert sum(trial.state is optuna.trial.TrialState.COMPLETE for trial in study.trials) == 2 + 3


@pytest.mark.parametrize("error", [AuthenticationError("no key"), ProposalError("nothing valid")], ids=repr)
def test_a_trial_for_which_nothing_was_proposed_says_why_and_is_in_no_prompt(error: Exception) -> None:
    model = SchemaModel()
    study = study_of(Script(error))
    with pytest.raises(type(error)):
        study.optimize(suggest, n_trials=1)
    failure = study.trials[0].user_attrs["failure"]
    assert failure["type"] == "NotProposed"
    assert failure["message"].startswith(f"{type(error).__name__}: ")
    study.sampler = sampler(model, search_space=SPACE)
    study.optimize(suggest, n_trials=1)
    assert "# Finished trials\nnone yet" in model.prompts[0]
    assert "Why trials failed" not in model.prompts[0]


def test_the_frames_that_are_left_out_are_in_the_log_for_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="optuna_llm")
    study = study_of(Script(AuthenticationError("no API key")))
    with pytest.raises(AuthenticationError):
        study.optimize(suggest, n_trials=1)
    (said,) = [record for record in caplog.records if record.getMessage() == "A proposal failed"]
    assert "in complete" in logging.Formatter().format(said)
