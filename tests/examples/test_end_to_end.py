"""A study from nothing to told trials, with the embedded model behind a real HTTP server and real LiteLLM."""

import anyio
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from optuna_llm import LLMGuidedSampler, optimize_async

SPACE = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 8),
    "optimizer": CategoricalDistribution(["adam", "sgd", None]),
}


def test_four_trials_are_proposed_by_the_embedded_model() -> None:
    sampler = LLMGuidedSampler("local", task="Tune a small network; the value is the validation loss.")
    study = optuna.create_study(sampler=sampler)
    report = anyio.run(
        lambda: optimize_async(
            study, lambda trial: float(trial.params["layers"]), n_trials=4, n_workers=2, search_space=SPACE
        )
    )
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert report.llm_calls >= 4
    for trial in study.trials:
        record = trial.user_attrs["llm"]
        assert set(trial.params) == set(SPACE)
        assert record["rationale"]
        assert record["usage"]["completion_tokens"] > 10
        assert record["latency"] > 0
        assert record["usage"]["cost"] is None
