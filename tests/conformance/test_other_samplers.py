"""Any Optuna sampler runs on the same engine, so that a comparison is one of samplers."""

import threading
from typing import Any

import anyio.lowlevel
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, ask_async, optimize_async

pytestmark = pytest.mark.asyncio


async def score(trial: AsyncTrial) -> float:
    await anyio.lowlevel.checkpoint()
    return float(trial.params["momentum"])


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler", "QMCSampler", "CmaEsSampler"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
async def test_any_sampler_runs_on_the_same_engine(name: str) -> None:
    study = optuna.create_study(sampler=getattr(optuna.samplers, name)(seed=1))
    report = await optimize_async(study, score, n_trials=30, n_workers=4, search_space=SPACE)
    assert report.n_complete == 30
    assert all(set(trial.params) == set(SPACE) for trial in study.trials)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
async def test_partial_fixed_sampler_around_ours_runs_on_the_engine() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=optuna.samplers.PartialFixedSampler({"layers": 5}, sampler(model)))
    report = await optimize_async(study, score, n_trials=6, n_workers=3, search_space=SPACE)
    assert report.n_complete == 6
    assert {trial.params["layers"] for trial in study.trials} == {5}
    assert all("layers" not in request.schema["properties"] for request in model.requests)


async def test_a_grid_that_is_exhausted_ends_the_run() -> None:
    grid = {"x": [0.0, 0.5, 1.0]}
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid))
    report = await optimize_async(
        study, lambda trial: trial.params["x"], n_trials=50, search_space={"x": FloatDistribution(0, 1)}
    )
    assert sorted(trial.params["x"] for trial in study.trials) == [0.0, 0.5, 1.0]
    assert report.stop_reason == "stop"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
async def test_the_gp_sampler_runs_on_the_same_engine() -> None:
    pytest.importorskip("torch", reason="optuna.samplers.GPSampler needs torch, which is too large for every checkout")
    gp = optuna.samplers.GPSampler(seed=1, n_startup_trials=4)
    study = optuna.create_study(sampler=gp)
    report = await optimize_async(study, score, n_trials=8, n_workers=2, search_space=SPACE)
    assert report.n_complete == 8


async def test_a_sampler_that_thinks_does_not_hold_up_the_tells() -> None:
    told = threading.Event()

    class Pondering(optuna.samplers.RandomSampler):
        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            if trial.number == 1:
                assert told.wait(60)
            return super().sample_independent(study, trial, name, distribution)

        def after_trial(self, study: Any, trial: Any, state: TrialState, values: Any) -> None:
            if trial.number == 0:
                told.set()

    study = optuna.create_study(sampler=Pondering(seed=1))
    report = await optimize_async(study, score, n_trials=2, n_workers=2, search_space=SPACE)
    assert report.n_complete == 2


async def test_a_batch_of_another_sampler_that_fails_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    other = optuna.samplers.RandomSampler(seed=1)
    real = other.sample_independent

    def fail_third(study: Any, trial: Any, name: str, distribution: Any) -> Any:
        if trial.number == 2:
            raise OSError("third")
        return real(study, trial, name, distribution)

    monkeypatch.setattr(other, "sample_independent", fail_third)
    study = optuna.create_study(sampler=other)
    with pytest.raises(OSError, match="third"):
        await ask_async(study, 4, search_space=SPACE)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
