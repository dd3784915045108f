"""What cannot work is refused before anything runs."""

from typing import Any

import optuna
import pytest
from objectives import plain_score, score, states
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import CoroutineWorkers, UsageError, optimize_async

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_workers": 0}, "n_workers must be a whole number of at least 1"),
        ({"n_workers": 1.5}, "n_workers"),
        ({"n_trials": -1}, "n_trials"),
        ({"timeout": 0}, "timeout must be a positive number"),
        ({"trial_timeout": float("nan")}, "trial_timeout"),
        ({"prefetch": -1}, "prefetch"),
        ({"retries": -1}, "retries"),
        ({"max_failure_rate": 1.5}, "max_failure_rate must be a number from 0 to below 1"),
        ({"max_failed_proposals": 0}, "max_failed_proposals"),
        ({"patience": -1}, "patience must be a number of seconds of at least 0"),
        ({"grace": True}, "grace must be a number of seconds of at least 0"),
        ({"total_trials": -1}, "total_trials must be a whole number of at least 0 or None"),
        ({"handle_signals": 1}, "handle_signals must be True, False or None"),
        ({"search_space": {}}, "search space is empty"),
        ({"search_space": {"x": (0, 1)}}, "'x': tuple is no Optuna distribution"),
        ({"search_space": {"x": FloatDistribution(0, float("inf"))}}, "give finite bounds"),
        ({"search_space": {"other": SPACE["lr"]}}, "differs from the sampler's own"),
        ({"catch": "ValueError"}, "catch takes exception types"),
        ({"callbacks": ["x"]}, "callbacks must be callable"),
        ({"callbacks": print}, "callbacks takes a list of functions"),
        ({"callbacks": [score]}, "callbacks must be plain functions"),
        ({"catch": 3}, "catch takes exception types"),
        ({"workers": 3}, "workers must be an object"),
        ({"workers": CoroutineWorkers}, "workers must be an object"),
    ],
)
async def test_bad_input_is_refused_before_anything_runs(options: dict[str, Any], message: str) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE))
    with pytest.raises(UsageError, match=message):
        await optimize_async(study, score, **{"n_trials": 1, **options})
    assert study.trials == []
    assert model.requests == []


async def test_an_objective_that_does_not_suit_its_workers_ends_the_run() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="use `async def`"):
        await optimize_async(study, lambda t: score(t), n_trials=9, search_space=SPACE, catch=Exception)
    with pytest.raises(UsageError, match="use threads"):
        await optimize_async(
            study, plain_score, n_trials=9, search_space=SPACE, workers=CoroutineWorkers(), catch=Exception
        )
    assert states(study) == {TrialState.FAIL: 2}


async def test_an_async_objective_with_no_space_known_is_refused() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="search space declared"):
        await optimize_async(study, score, n_trials=1)


async def test_a_multi_objective_study_is_refused() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler())
    with pytest.raises(UsageError, match="2 objectives"):
        await optimize_async(study, score, n_trials=1, search_space=SPACE)
