"""A declared space is complete: other names end the run before they cost a call, and unasked ones are said."""

from typing import Any

import anyio
import optuna
import pytest
from objectives import states
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, RunReport, UsageError, optimize_async

X = {"x": FloatDistribution(0, 1)}


def plain(name: str) -> Any:
    return lambda trial: trial.suggest_float(name, 0, 1)


def categorical(name: str) -> Any:
    return lambda trial: float(trial.suggest_categorical(name, [1, 2]))


def asynchronous(name: str) -> Any:
    async def objective(trial: AsyncTrial) -> float:
        return trial.suggest_int(name, 0, 1)

    return objective


def swallowing(name: str) -> Any:
    def objective(trial: optuna.Trial) -> float:
        try:
            return trial.suggest_float(name, 0, 1)
        except Exception:
            return 0.0

    return objective


def pruning(name: str) -> Any:
    def objective(trial: optuna.Trial) -> float:
        try:
            return trial.suggest_float(name, 0, 1)
        except ValueError:
            raise optuna.TrialPruned from None

    return objective


def run(study: optuna.Study, objective: Any, **options: Any) -> RunReport:
    return anyio.run(lambda: optimize_async(study, objective, **{"n_trials": 5, "catch": Exception, **options}))


@pytest.mark.parametrize("union", [False, True])
@pytest.mark.parametrize("kind", [plain, categorical, asynchronous, swallowing, pruning])
def test_a_name_outside_ends_the_run_after_one_call(kind: Any, union: bool) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE if union else None))
    with pytest.raises(UsageError, match=r"'momentun' is not in the search space.*did you mean 'momentum'"):
        run(study, kind("momentun"), search_space=None if union else SPACE)
    assert len(model.requests) == 1
    assert states(study) == {TrialState.FAIL: 1}
    assert study.trials[0].user_attrs["failure"]["type"] == "UsageError"


def test_a_name_outside_ends_the_run_of_other_samplers_too() -> None:
    study = optuna.create_study(sampler=RandomSampler())
    with pytest.raises(UsageError, match="'y' is not in the search space"):
        run(study, plain("y"), search_space=X)
    assert states(study) == {TrialState.FAIL: 1}


def test_with_nothing_declared_any_name_goes() -> None:
    study = optuna.create_study(sampler=sampler())
    assert run(study, plain("anything"), n_trials=2).n_complete == 2


@pytest.mark.filterwarnings("ignore:PartialFixedSampler:optuna.exceptions.ExperimentalWarning")
def test_what_is_enqueued_fixed_or_has_one_value_is_let_through() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("constant", 2, 2)
        return trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)

    study = optuna.create_study(sampler=sampler())
    study.enqueue_trial({"x": 0.5, "y": 0.25})
    assert run(study, objective, n_trials=1, search_space=X).n_complete == 1
    fixed = optuna.create_study(sampler=PartialFixedSampler({"y": 0.25}, sampler(search_space=X)))
    assert run(fixed, objective, n_trials=1).n_complete == 1
    assert fixed.trials[0].params["y"] == 0.25


def test_a_trial_is_still_optunas_own_class_of_trial() -> None:
    seen: list[Any] = []

    def objective(trial: optuna.Trial) -> float:
        seen.extend([isinstance(trial, optuna.Trial), trial.params, trial.suggest_float("x", 0, 1)])
        return 1.0

    run(optuna.create_study(sampler=sampler()), objective, n_trials=1, search_space=X)
    assert seen == [True, {"x": seen[2]}, seen[2]]


# -- names that nothing asks for


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("No objective asked for")]


@pytest.mark.parametrize("union", [False, True])
@pytest.mark.parametrize("n_trials", [1, 10, 25])
def test_a_declared_name_that_nothing_asks_for_is_said_once(
    caplog: pytest.LogCaptureFixture, union: bool, n_trials: int
) -> None:
    space = {**X, "warmup": CategoricalDistribution([1, 2, 3])}
    study = optuna.create_study(sampler=sampler(search_space=space if union else None))
    run(study, plain("x"), n_trials=n_trials, n_workers=4, search_space=None if union else space)
    (line,) = said(caplog)
    assert "'warmup'" in line
    assert "'x'" not in line


def test_a_name_that_one_branch_asks_for_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x" if trial.number == 7 else "y", 0, 1)

    run(optuna.create_study(sampler=sampler(search_space={**X, "y": X["x"]})), objective, n_trials=9)
    assert said(caplog) == []


def test_a_name_that_an_earlier_run_asked_for_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler(search_space={**X, "y": X["x"]}))
    run(study, plain("y"), n_trials=1)
    caplog.clear()
    run(study, plain("x"), n_trials=12)
    assert said(caplog) == []


def test_whoever_reads_all_parameters_asks_for_all(caplog: pytest.LogCaptureFixture) -> None:
    async def objective(trial: AsyncTrial) -> float:
        return float(trial.params["x"])

    run(optuna.create_study(sampler=sampler()), lambda trial: trial.params["x"], search_space=X)
    run(optuna.create_study(sampler=sampler()), objective, search_space=X)
    assert said(caplog) == []


def test_failures_say_nothing_of_a_name(caplog: pytest.LogCaptureFixture) -> None:
    run(optuna.create_study(sampler=sampler()), lambda trial: 1 / 0, n_trials=20, search_space=X)
    assert said(caplog) == []
