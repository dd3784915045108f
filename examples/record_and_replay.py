"""Record what a model answered, then run the same study again without it.

A function stands in for the model, so that nothing but this package is needed: `pip install .`
"""

import random
import tempfile
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from optuna_llm import (
    Client,
    FunctionClient,
    LLMGuidedSampler,
    RecordingClient,
    ReplayClient,
    Request,
    optimize,
)

SPACE = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "layers": IntDistribution(1, 6)}
dice = random.Random()


def stand_in(request: Request) -> dict[str, object]:
    """Answers as a model would, and as a model would, differently every time."""
    return {"rationale": "a dice, not a model", "lr": 10 ** dice.uniform(-5, -1), "layers": dice.randint(1, 6)}


MODEL = FunctionClient(stand_in)  # or LiteLLMClient("openai/gpt-5.4-mini")


def loss(trial: optuna.Trial) -> float:
    return abs(trial.params["lr"] - 1e-3) * 100 + abs(trial.params["layers"] - 3)


def run(client: Client) -> optuna.Study:
    sampler = LLMGuidedSampler(client, task="Tune a small network; the metric is its loss.")
    study = optuna.create_study(sampler=sampler, direction="minimize")
    optimize(study, loss, n_trials=12, search_space=SPACE)
    return study


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        recorded = run(RecordingClient(MODEL, path))
        print(f"Recorded: {len(recorded.trials)} trials in {path.name}, best {recorded.best_value:.4f}")
        replayed = run(ReplayClient(path))
    same = [trial.params for trial in recorded.trials] == [trial.params for trial in replayed.trials]
    print(f"Replayed: {len(replayed.trials)} trials, best {replayed.best_value:.4f}")
    print("The same proposals." if same else "Other proposals: this should not happen.")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
