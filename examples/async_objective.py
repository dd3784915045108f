"""An `async def` objective, 8 at a time. A function stands in for the model, so that it runs without a key.

For a real model write `LLMGuidedSampler("openai/gpt-5-mini", task=...)`.
"""

import random

import anyio
import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from optuna_llm import AsyncTrial, FunctionClient, LLMGuidedSampler, Request, optimize_async

SPACE = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "layers": IntDistribution(1, 6)}
dice = random.Random(0)


def stand_in(request: Request) -> dict[str, object]:
    """Answers as a model would: a JSON document with a rationale and every parameter."""
    lr = 10 ** dice.uniform(-5, -1)
    return {"rationale": "a seeded dice, not a model", "lr": lr, "layers": dice.randint(1, 6)}


async def loss(trial: AsyncTrial) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 6)
    for step in range(3):
        await anyio.sleep(0.01)  # a request to a training service, say
        trial.report(abs(lr - 1e-3) * 100 / (step + 1), step)
        if await trial.should_prune():
            raise optuna.TrialPruned
    return abs(lr - 1e-3) * 100 + abs(layers - 3)


async def main() -> None:
    sampler = LLMGuidedSampler(FunctionClient(stand_in), task="Tune a small network; the metric is its loss.")
    study = optuna.create_study(sampler=sampler, direction="minimize")
    report = await optimize_async(study, loss, n_trials=24, n_workers=8, search_space=SPACE)
    print(f"Best: {study.best_value:.4f} with {study.best_params}")
    print(f"Report: {report}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    anyio.run(main)
