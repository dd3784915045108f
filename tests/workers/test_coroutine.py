"""The trial of an `async def` objective: suggesting is immediate, storage calls are queued and stored in order."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import optuna
import pytest
from objectives import states
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, UsageError, optimize_async
from optuna_llm.engine.study.optuna_internals import preset_values
from optuna_llm.engine.study.patience import Patience

pytestmark = pytest.mark.asyncio


async def test_pruners_work_for_coroutines() -> None:
    async def objective(trial: AsyncTrial) -> float:
        for step in range(3):
            trial.report(float(trial.number), step)
            if await trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    pruner = optuna.pruners.ThresholdPruner(upper=1.5)
    study = optuna.create_study(sampler=sampler(), pruner=pruner)
    report = await optimize_async(study, objective, n_trials=4, search_space=SPACE)
    assert (report.n_complete, report.n_pruned) == (2, 2)
    assert study.trials[0].intermediate_values == {0: 0.0, 1: 0.0, 2: 0.0}


async def test_should_prune_without_await_is_an_error_and_not_a_pruned_trial() -> None:
    async def forgetful(trial: Any) -> float:
        trial.report(1.0, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="must be awaited"):
        await optimize_async(study, forgetful, n_trials=3, search_space=SPACE)
    assert states(study) == {TrialState.FAIL: 1}


async def test_what_an_objective_queued_is_stored_before_its_trial_is_told() -> None:
    async def objective(trial: AsyncTrial) -> float:
        trial.set_user_attr("epochs", 7)
        trial.report(0.5, 3)
        return 1.0

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, objective, n_trials=1, search_space=SPACE)
    assert study.trials[0].user_attrs["epochs"] == 7
    assert study.trials[0].intermediate_values == {3: 0.5}


async def test_an_error_of_a_queued_call_fails_the_trial() -> None:
    async def objective(trial: AsyncTrial) -> float:
        trial.report(0.5, -1)
        return 1.0

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, objective, n_trials=1, search_space=SPACE, catch=ValueError)
    assert report.n_failed == 1
    assert "non-negative" in study.trials[0].user_attrs["failure"]["message"]


async def test_a_name_outside_the_space_is_a_usage_error_that_catch_does_not_cover() -> None:
    async def objective(trial: AsyncTrial) -> float:
        return trial.suggest_float("unheard", 0, 1)

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="'unheard' is not in the search space"):
        await optimize_async(study, objective, n_trials=5, search_space=SPACE, catch=Exception)
    assert states(study) == {TrialState.FAIL: 1}


async def test_what_is_suggested_at_one_moment_is_written_by_one_job_of_the_storage_thread() -> None:
    """Each job wakes a thread, which a thousand trials at once can do without."""
    jobs: list[Callable[[], object]] = []

    class Lane:
        def submit(self, job: Callable[[], object]) -> Future[None]:
            jobs.append(job)
            return Future()

    study = optuna.create_study()
    asked = study.ask()
    preset_values(asked, dict.fromkeys("abcde", 0.5), dict.fromkeys("abcde", FloatDistribution(0, 1)))
    trial = AsyncTrial(asked, Lane(), Patience())  # type: ignore[arg-type]
    for name in "abc":
        trial.suggest_float(name, 0, 1)
    assert len(jobs) == 1
    behind = [trial.is_behind]
    jobs[0]()
    assert [*behind, trial.is_behind] == [True, False]
    for name in "de":
        trial.suggest_float(name, 0, 1)
    assert len(jobs) == 2
    jobs[1]()
    assert study.trials[0].params.keys() == {*"abcde"}
    assert not trial.is_behind


async def test_trials_share_the_ranges_that_were_proposed_in() -> None:
    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=sampler(SchemaModel(), search_space=space))

    async def objective(trial: AsyncTrial) -> float:
        return trial.suggest_float("x", 0, 1)

    await optimize_async(study, objective, n_trials=3)
    kept = {id(trial.distributions["x"]) for trial in study.get_trials(deepcopy=False)}
    assert kept == {id(space["x"])}
