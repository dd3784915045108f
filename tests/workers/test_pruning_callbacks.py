"""Pruning callbacks of boosting libraries, unchanged, in an objective that runs in a process, or on an executor."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from typing import Any

import anyio
import optuna
import pytest
from support import SPACE, sampler

from optuna_llm import ExecutorWorkers, ProcessWorkers, ThreadWorkers, optimize_async

ROUNDS = 6


def data() -> tuple[Any, Any]:
    import numpy as np

    x = np.random.default_rng(0).normal(size=(200, 3))
    return x, (x[:, 0] > 0).astype(int)


def lightgbm(trial: Any) -> float:
    import lightgbm as lgb
    from optuna_integration import LightGBMPruningCallback

    train = lgb.Dataset(*data())
    parameters = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 1}
    callback = LightGBMPruningCallback(trial, "binary_logloss", valid_name="own")
    booster = lgb.train(parameters, train, ROUNDS, valid_sets=[train], valid_names=["own"], callbacks=[callback])
    return float(booster.best_score["own"]["binary_logloss"])


def xgboost(trial: Any) -> float:
    import xgboost as xgb
    from optuna_integration import XGBoostPruningCallback

    train = xgb.DMatrix(*data())
    result: dict[str, Any] = {}
    xgb.train(
        {"objective": "binary:logistic", "nthread": 1},
        train,
        ROUNDS,
        evals=[(train, "own")],
        evals_result=result,
        verbose_eval=False,
        callbacks=[XGBoostPruningCallback(trial, "own-logloss")],
    )
    return float(result["own"]["logloss"][-1])


def of_an_executor() -> ExecutorWorkers:
    """One process, which ends with the test."""
    return ExecutorWorkers(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))


def told(workers: Any, objective: Callable[[Any], float], pruner: optuna.pruners.BasePruner) -> list[Any]:
    study = optuna.create_study(sampler=sampler(), pruner=pruner)
    with closing(workers):
        anyio.run(lambda: optimize_async(study, objective, n_trials=2, search_space=SPACE, workers=workers))
    return [(trial.state, trial.value, trial.intermediate_values) for trial in study.trials]


@pytest.mark.slow
@pytest.mark.parametrize("objective", [lightgbm, xgboost])
@pytest.mark.parametrize("kind", [lambda: ProcessWorkers(1), of_an_executor], ids=["process", "executor"])
def test_callbacks_report_and_prune_as_in_threads(
    objective: Callable[[Any], float], kind: Callable[[], ProcessWorkers | ExecutorWorkers]
) -> None:
    for pruner, state, steps in (
        (optuna.pruners.NopPruner(), "COMPLETE", ROUNDS),
        (optuna.pruners.ThresholdPruner(upper=0.01, n_warmup_steps=2), "PRUNED", 3),
    ):
        there = told(kind(), objective, pruner)
        assert there == told(ThreadWorkers(), objective, pruner)
        assert [(trial[0].name, len(trial[2])) for trial in there] == [(state, steps)] * 2


@pytest.mark.slow
def test_a_callback_sees_the_wrong_direction() -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    with closing(ProcessWorkers(1)) as workers, pytest.raises(ValueError, match="inconsistent"):
        anyio.run(lambda: optimize_async(study, lightgbm, n_trials=1, search_space=SPACE, workers=workers))
