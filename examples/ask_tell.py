"""Ask for a batch, evaluate it your own way, tell.

A function stands in for the model, so that it runs without a key.
"""

import random

import anyio
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from optuna_llm import FunctionClient, LLMGuidedSampler, Request, ask_async

SPACE = {"x": FloatDistribution(-5.0, 5.0), "shape": CategoricalDistribution(["square", "absolute"])}
BATCHES = 3
BATCH_SIZE = 4
dice = random.Random(0)


def stand_in(request: Request) -> dict[str, object]:
    """Answers as a model would: a JSON document with a rationale and every parameter."""
    x = dice.uniform(-5.0, 5.0)
    return {"rationale": "a seeded dice, not a model", "x": x, "shape": dice.choice(["square", "absolute"])}


def evaluate(params: dict[str, float | str]) -> float:
    distance = abs(float(params["x"]) - 1.0)
    return distance**2 if params["shape"] == "square" else distance


async def main() -> None:
    sampler = LLMGuidedSampler(FunctionClient(stand_in), task="Find the minimum of a function of x.")
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for batch in range(BATCHES):
        trials = await ask_async(study, BATCH_SIZE, search_space=SPACE)
        for trial in trials:
            study.tell(trial, evaluate(trial.params))
        print(f"Batch {batch}: trials {[trial.number for trial in trials]}, best so far {study.best_value:.4f}")
    print(f"Best: {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    anyio.run(main)
