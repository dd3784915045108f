"""What it costs, or brings, to give a share of a study's trials to a classical sampler.

python -m benchmarks.quality.mixing --seeds 30 --trials 40

The models are those of `strengths`. Two studies on one storage take turns: one is the model's, the other the classical
sampler's. Both see all results. Reported is the mean best value so far (0 is about the least possible).
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio
import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.quality.strengths import MODELS, SPACE, Bowl
from optuna_llm import FunctionClient, LLMGuidedSampler, ask_async

# By name: whose turn a trial is, by its number from 0 (True: the classical sampler's), and that sampler.
Turn = Callable[[int], bool]
MIXES: Final[Mapping[str, tuple[Turn, type[BaseSampler]]]] = {
    "none": (lambda number: False, RandomSampler),
    "random, 1 in 10": (lambda number: number % 10 == 9, RandomSampler),
    "random, 1 in 4": (lambda number: number % 4 == 3, RandomSampler),
    "random, the first 10": (lambda number: number < 10, RandomSampler),
    "TPE, 1 in 4": (lambda number: number % 4 == 3, TPESampler),
    "TPE, all": (lambda number: True, TPESampler),
}


async def study_of(name: str, mix: str, strategy: str, seed: int, *, trials: int) -> Sequence[float]:
    """One study of one model and one mix: its values in order of the trials."""
    classical_turn, classical = MIXES[mix]
    bowl = Bowl(seed)
    model = MODELS[name](bowl, seed)
    storage = optuna.storages.InMemoryStorage()
    guided = LLMGuidedSampler(FunctionClient(model), strategy=strategy, seed=seed)
    asked = optuna.create_study(storage=storage, sampler=guided)
    sampler: BaseSampler = classical(seed=seed)  # type: ignore[call-arg]  # both take one
    drawn = optuna.load_study(study_name=asked.study_name, storage=storage, sampler=sampler)
    values = []
    for number in range(trials):
        if classical_turn(number):
            trial = drawn.ask(dict(SPACE))
        else:
            [trial] = await ask_async(asked, search_space=SPACE)
        values.append(bowl(trial.params))
        model.results.append((values[-1], dict(trial.params)))
        asked.tell(trial, values[-1])
    return values


def line(name: str, mix: str, studies: Sequence[Sequence[float]], trials: int) -> str:
    """A row of the table."""
    best = np.minimum.accumulate(np.array(studies), axis=1)
    at = [f"{statistics.mean(best[:, count - 1]):.4f}" for count in (trials // 4, trials // 2, trials)]
    return f"| {name} | {mix} | {' | '.join(at)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality.mixing", description="Models with another sampler.")
    parser.add_argument("--models", default="knows,learns,draws,hugs")
    parser.add_argument("--strategy", default="adaptive")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args(arguments)
    count = options.trials
    print(f"| model | mixed in | {count // 4} | {count // 2} | {count} |")
    print("|---|---|---|---|---|")
    for name in options.models.split(","):
        for mix in MIXES:
            studies = [
                anyio.run(lambda: study_of(name, mix, options.strategy, seed, trials=count))  # noqa: B023
                for seed in range(options.seeds)
            ]
            print(line(name, mix, studies, count), flush=True)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
