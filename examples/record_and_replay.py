"""Record what a model answered, then run the same study again without it.

A function stands in for the model, so that it runs without a key. For a real model wrap its client instead:
`RecordingClient(LiteLLMClient("openai/gpt-5-mini"), "run.jsonl")`.
"""

import random
import tempfile
from pathlib import Path

import anyio
import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from optuna_llm import (
    AsyncTrial,
    Client,
    FunctionClient,
    LLMGuidedSampler,
    RecordingClient,
    ReplayClient,
    Request,
    optimize_async,
)

SPACE = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "layers": IntDistribution(1, 6)}
dice = random.Random()


def stand_in(request: Request) -> dict[str, object]:
    """Answers as a model would, and as a model would, differently every time."""
    lr = 10 ** dice.uniform(-5, -1)
    return {"rationale": "a dice, not a model", "lr": lr, "layers": dice.randint(1, 6)}


async def loss(trial: AsyncTrial) -> float:
    return abs(trial.suggest_float("lr", 1e-5, 1e-1, log=True) - 1e-3) * 100 + abs(
        trial.suggest_int("layers", 1, 6) - 3
    )


async def run(client: Client) -> optuna.Study:
    sampler = LLMGuidedSampler(client, task="Tune a small network; the metric is its loss.")
    study = optuna.create_study(sampler=sampler, direction="minimize")
    await optimize_async(study, loss, n_trials=12, search_space=SPACE)
    await client.aclose()
    return study


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        recorded = anyio.run(run, RecordingClient(FunctionClient(stand_in), path))
        print(f"Recorded: {len(recorded.trials)} trials in {path.name}, best {recorded.best_value:.4f}")
        replayed = anyio.run(run, ReplayClient(path))
    same = [trial.params for trial in recorded.trials] == [trial.params for trial in replayed.trials]
    print(f"Replayed: {len(replayed.trials)} trials, best {replayed.best_value:.4f}")
    print("The same proposals." if same else "Other proposals: this should not happen.")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
