"""Plain objectives run in threads, with Optuna's own trial, and hear of it when nobody waits any more."""

import asyncio
import threading
from typing import Any

import clock
import optuna
import pytest
from support import SPACE, sampler

from optuna_llm import (
    CoroutineWorkers,
    ProcessWorkers,
    RunReport,
    ThreadWorkers,
    UsageError,
    optimize_async,
)


@pytest.mark.asyncio
async def test_pruners_work_for_threads_as_they_are() -> None:
    def objective(trial: optuna.Trial) -> float:
        for step in range(3):
            trial.report(float(trial.number), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    study = optuna.create_study(sampler=sampler(), pruner=optuna.pruners.ThresholdPruner(upper=1.5))
    report = await optimize_async(study, objective, n_trials=4, search_space=SPACE)
    assert (report.n_complete, report.n_pruned) == (2, 2)


def test_a_thread_over_its_time_is_told_and_abandoned() -> None:
    release, told = threading.Event(), threading.Event()

    def patient(trial: Any) -> float:
        if trial.number == 0:
            clock.push(3600, loops[0])
            if trial.cancelled.wait(60):
                told.set()
            release.wait(60)
        return 1.0

    async def main() -> RunReport:
        loops.append(asyncio.get_running_loop())
        return await optimize_async(study, patient, n_trials=3, search_space=SPACE, trial_timeout=3600)

    loops: list[asyncio.AbstractEventLoop] = []
    study = optuna.create_study(sampler=sampler())
    report = clock.run_pushed(main())
    assert told.wait(60)
    release.set()
    assert (report.n_complete, report.n_failed) == (2, 1)


def test_cancelled_is_true_once_the_trial_is_and_not_before() -> None:
    seen: list[bool] = []
    ended = threading.Event()

    def polling(trial: Any) -> float:
        seen.append(bool(trial.cancelled))
        if trial.number == 0:
            clock.push(3600, loops[0])
            while not trial.cancelled:
                trial.cancelled.wait(60)
            seen.append(bool(trial.cancelled))
            ended.set()
        return 1.0 if not trial.cancelled else 0.0

    async def main() -> RunReport:
        loops.append(asyncio.get_running_loop())
        return await optimize_async(study, polling, n_trials=1, search_space=SPACE, trial_timeout=3600)

    loops: list[asyncio.AbstractEventLoop] = []
    study = optuna.create_study(sampler=sampler())
    assert clock.run_pushed(main()).n_failed == 1
    assert ended.wait(60)
    assert seen == [False, True]


@pytest.mark.asyncio
async def test_a_trial_that_was_not_cancelled_says_so_in_an_if_and_beside_its_parameters() -> None:
    def objective(trial: Any) -> float:
        return -1.0 if trial.cancelled or trial.cancelled.is_set() else 1.0

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, objective, n_trials=3, n_workers=2, search_space=SPACE)
    assert report.n_complete == 3
    assert {trial.value for trial in study.trials} == {1.0}


@pytest.mark.asyncio
@pytest.mark.parametrize("slots", [0, -3, "a", 1.5])
@pytest.mark.parametrize("kind", [CoroutineWorkers, ThreadWorkers])
async def test_workers_refuse_what_is_no_number_of_slots(kind: Any, slots: Any) -> None:
    with pytest.raises(UsageError, match="slots must be a whole number"):
        kind(slots)


@pytest.mark.parametrize("kind", [ThreadWorkers, ProcessWorkers])
def test_an_async_objective_is_refused_before_anything_is_asked(kind: Any) -> None:
    async def objective(trial: Any) -> float:
        return 1.0

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match=r"Workers.* cannot run an `async def` objective: leave out workers="):
        asyncio.run(optimize_async(study, objective, n_trials=3, search_space=SPACE, workers=kind(1)))
    assert study.trials == []
