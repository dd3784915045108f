"""What users ask of numpy is for their own numbers: guidance computes as ever."""

from typing import Any

import anyio
import numpy as np
import optuna
import pytest
from support import SPACE, SchemaModel, prompt, sampler

from optuna_llm import optimize_async


@pytest.mark.parametrize("setting", [{"all": "raise"}, {"under": "raise"}, {"all": "call"}, {"all": "warn"}])
@pytest.mark.parametrize("strategy", ["menu", "adaptive", "plain"])
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_guidance_is_the_same_under_any_seterr(setting: Any, strategy: str, scale: float) -> None:
    """Ranges and values are such that kernels underflow and squares overflow."""

    def prompts() -> list[str]:
        model = SchemaModel(seed=1)
        study = optuna.create_study(sampler=sampler(model, strategy=strategy, seed=1))
        objective = lambda trial: scale * trial.number**2  # noqa: E731
        anyio.run(lambda: optimize_async(study, objective, n_trials=12, search_space=SPACE))
        return [prompt(request) for request in model.requests]

    usual = prompts()
    seen: list[Any] = []
    before = np.seterrcall(lambda *error: seen.append(error))
    try:
        with np.errstate(**setting):
            assert prompts() == usual
    finally:
        np.seterrcall(before)
    assert seen == []


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0",
    reason="before numpy 2 `errstate` is of one thread, and models are called in another",
)
def test_a_model_function_computes_as_its_user_asked() -> None:
    states = []

    def model(request: Any) -> dict[str, float]:
        states.append(np.geterr()["under"])
        return {"x": 0.5}

    study = optuna.create_study(
        sampler=sampler(model, search_space={"x": optuna.distributions.FloatDistribution(0, 1)})
    )
    with np.errstate(all="raise"):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert states == ["raise"]
