"""Tune a support vector classifier on scikit-learn's breast cancer data with the embedded model and 4 workers.

No key and no network: `make demo`, or `python examples/demo.py [MODEL]` with any model that LiteLLM knows.
"""

import sys
from typing import Any

import anyio
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from optuna_llm import LLMGuidedSampler, RunReport, optimize_async

N_TRIALS = 12
N_WORKERS = 4
SPACE = {
    "C": FloatDistribution(1e-3, 1e3, log=True),
    "gamma": FloatDistribution(1e-5, 1e1, log=True),
    "kernel": CategoricalDistribution(["rbf", "sigmoid"]),
    "components": IntDistribution(2, 30),
}
TASK = (
    "Tune a pipeline of standard scaling, PCA and a support vector classifier on 569 samples with 30 features; "
    "the metric is the mean accuracy of 5-fold cross-validation."
)
MEANINGS = {
    "C": "inverse strength of the regularization",
    "gamma": "width of the kernel: larger is narrower",
    "kernel": "kernel of the classifier",
    "components": "number of principal components that are kept",
}
FEATURES, LABELS = load_breast_cancer(return_X_y=True)


def accuracy(trial: optuna.Trial) -> float:
    classifier = SVC(
        C=trial.suggest_float("C", 1e-3, 1e3, log=True),
        gamma=trial.suggest_float("gamma", 1e-5, 1e1, log=True),
        kernel=trial.suggest_categorical("kernel", ["rbf", "sigmoid"]),
    )
    reduction = PCA(n_components=trial.suggest_int("components", 2, 30))
    pipeline = make_pipeline(StandardScaler(), reduction, classifier)
    return float(cross_val_score(pipeline, FEATURES, LABELS, cv=5).mean())


def shown(params: dict[str, Any]) -> str:
    return "  ".join(
        f"{name}={value:<8.3g}" if isinstance(value, float) else f"{name}={value:<7}" for name, value in params.items()
    )


def print_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    score = f"{trial.value:.4f}" if trial.state == TrialState.COMPLETE else "-"
    print(f"{trial.number:>5}  {trial.state.name:<8}  {score:>8}  {shown(trial.params)}")
    print(f"{'':25}{trial.user_attrs['llm']['rationale']}", flush=True)


def print_summary(study: optuna.Study, report: RunReport) -> None:
    best = study.best_trial
    print(f"\nBest: trial {best.number}, accuracy {best.value:.4f}, {shown(best.params)}")
    print(f"Report: {report}")


def main(model: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = LLMGuidedSampler(model, task=TASK, parameters=MEANINGS)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    print(f"{N_TRIALS} trials, {N_WORKERS} workers, model {model!r}\n", flush=True)
    print(f"{'trial':>5}  {'state':<8}  {'accuracy':>8}  parameters, and the model's rationale", flush=True)

    async def run() -> RunReport:
        return await optimize_async(
            study, accuracy, n_trials=N_TRIALS, n_workers=N_WORKERS, search_space=SPACE, callbacks=[print_trial]
        )

    print_summary(study, anyio.run(run))
    if model == "local":
        print(
            "\nThe embedded model is tiny (135 million parameters) and only shows how things work. For a stronger one: "
            "`python examples/demo.py openai/gpt-5-mini` with OPENAI_API_KEY set."
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "local")
