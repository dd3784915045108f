"""Under `study.optimize` and ask and tell: names outside a declared space, unasked ones, meanings of nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import UsageError, ask_async, optimize_async
from optuna_llm.engine.names import ENOUGH_TRIALS

X = {"x": FloatDistribution(0, 1)}


def suggest_x(trial: Any) -> float:
    return float(trial.suggest_float("x", 0, 1))


def lines(caplog: pytest.LogCaptureFixture, beginning: str) -> list[str]:
    return [text for text in caplog.messages if text.startswith(beginning)]


@pytest.mark.parametrize("caught", [False, True])
def test_a_name_outside_stops_study_optimize_after_one_call(caught: bool) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE))
    raises: AbstractContextManager[object] = nullcontext()
    if not caught:
        raises = pytest.raises(UsageError, match="'x' is not in the search space")
    with raises:
        study.optimize(suggest_x, n_trials=5, catch=(ValueError,) if caught else ())
    assert len(model.requests) == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_name_outside_is_refused_to_who_asks_and_tells() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE))
    with pytest.raises(UsageError, match="'x' is not in the search space"):
        suggest_x(study.ask())
    (trial,) = anyio.run(lambda: ask_async(study))
    with pytest.raises(UsageError, match="'x' is not in the search space"):
        suggest_x(trial)
    assert len(model.requests) == 2  # one a trial


def test_under_study_optimize_unasked_names_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler(search_space={**X, "warmup": FloatDistribution(0, 9)}))
    study.optimize(suggest_x, n_trials=ENOUGH_TRIALS - 1)
    assert lines(caplog, "No objective") == []
    study.optimize(suggest_x, n_trials=5)
    (line,) = lines(caplog, "No objective")
    assert "'warmup'" in line


def test_under_study_optimize_a_name_that_another_process_asked_for_is_not_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    space = {**X, "y": X["x"]}
    study = optuna.create_study(sampler=sampler(search_space=space))
    study.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=1)
    study.sampler = sampler(search_space=space)
    study.optimize(suggest_x, n_trials=ENOUGH_TRIALS + 2)
    assert lines(caplog, "No objective") == []


MEANINGS = {"x": "where", "momentun": "how much of the last step stays"}


@pytest.mark.parametrize("way", ["run", "union", "optimize", "ask"])
def test_a_meaning_of_nothing_that_is_declared_is_said_once_before_the_first_call(
    caplog: pytest.LogCaptureFixture, way: str
) -> None:
    heard: list[int] = []

    def model(request: Any) -> Any:
        heard.append(len(lines(caplog, "parameters=")))
        return SchemaModel(seed=len(heard))(request)

    space = {**SPACE, **X}
    study = optuna.create_study(
        sampler=sampler(model, parameters=MEANINGS, search_space=None if way in ("run", "ask") else space)
    )
    if way in ("run", "union"):
        given = space if way == "run" else None
        anyio.run(lambda: optimize_async(study, suggest_x, n_trials=12, search_space=given))
    elif way == "optimize":
        study.optimize(suggest_x, n_trials=12)
    else:
        anyio.run(lambda: ask_async(study, 3, search_space=space))
    (line,) = lines(caplog, "parameters=")
    assert "'momentun'" in line
    assert "'x' means" not in line
    assert "did you mean 'momentum'" in line
    assert heard[0] == 1


@pytest.mark.parametrize("engine", [False, True])
def test_with_nothing_declared_a_meaning_of_nothing_is_said_after_some_trials(
    caplog: pytest.LogCaptureFixture, engine: bool
) -> None:
    study = optuna.create_study(sampler=sampler(parameters=MEANINGS))
    if engine:
        anyio.run(lambda: optimize_async(study, suggest_x, n_trials=ENOUGH_TRIALS + 2))
    else:
        study.optimize(suggest_x, n_trials=ENOUGH_TRIALS + 2)
    (line,) = lines(caplog, "parameters=")
    assert "among ['x']" in line


def test_meanings_of_all_that_there_is_are_not_said(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler(parameters={"x": "where"}))
    study.optimize(suggest_x, n_trials=ENOUGH_TRIALS + 2)
    assert lines(caplog, "parameters=") == []
