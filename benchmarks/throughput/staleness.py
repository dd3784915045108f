"""What proposals that are computed ahead of the workers cost in knowledge, and bring in time.

python -m benchmarks.throughput.staleness --workers 8 --llm 0.2 --objective 0.2

Latencies are lognormal, so that workers are out of step. Reported are, of trials after the first three waves, how many
results arrived between prompt and evaluation (`staleness`), how many configurations were in flight when the prompt was
written, and the share of the workers' time that evaluated something.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

import anyio
import optuna
from optuna.distributions import FloatDistribution

from optuna_llm import AsyncTrial, FunctionClient, LLMGuidedSampler, Request, optimize_async

SIGMA: Final = 0.5  # of the logarithm of a latency
SPACE: Final = {name: FloatDistribution(0, 1) for name in "abcd"}
RAMP: Final = 3  # waves until a run is in its stride


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of the trials of one run: results that their prompts lacked, others in flight then; and how busy workers were."""

    staleness: float
    most: int
    in_flight: float
    utilization: float


def expected(workers: int, prefetch: int, utilization: float) -> float:
    """The mean staleness by Little's law: all other proposals that are ready or being computed are launched first.

    These are as many as workers are idle, and those ahead; each launch follows a result.
    """
    return max(0.0, prefetch + workers * (1 - utilization) - 1)


async def run(workers: int, prefetch: int, llm: float, objective: float, *, waves: int = 16) -> Outcome:
    """Run one study; latencies are means, in seconds."""
    rng = random.Random(0)

    def seconds(average: float) -> float:
        return average * rng.lognormvariate(-(SIGMA**2) / 2, SIGMA)

    async def model(request: Request) -> dict[str, Any]:
        await anyio.sleep(seconds(llm))
        return {"rationale": "", **{name: rng.random() for name in SPACE}}

    async def evaluate(trial: AsyncTrial) -> float:
        for name in SPACE:
            trial.suggest_float(name, 0, 1)
        await anyio.sleep(seconds(objective))
        return rng.random()

    study = optuna.create_study(sampler=LLMGuidedSampler(FunctionClient(model), strategy="plain"))
    report = await optimize_async(
        study, evaluate, n_trials=waves * workers, n_workers=workers, prefetch=prefetch, search_space=SPACE
    )
    records = [trial.user_attrs["llm"] for trial in study.trials[RAMP * workers :]]
    return Outcome(
        staleness=mean(record["staleness"] for record in records),
        most=max(record["staleness"] for record in records),
        in_flight=mean(record["context"]["running"] for record in records),
        utilization=report.utilization or 0.0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.throughput.staleness", description="Proposals ahead.")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--llm", type=float, default=0.2, help="seconds of a call")
    parser.add_argument("--objective", type=float, default=0.2, help="seconds of an evaluation")
    parser.add_argument("--waves", type=int, default=16)
    options = parser.parse_args(arguments)
    workers, llm, objective = options.workers, options.llm, options.objective
    print("| prefetch | workers busy | staleness expected | mean | most | in flight at the prompt |")
    print("|---|---|---|---|---|---|")
    for prefetch in (0, workers // 2, workers, 2 * workers):
        one = anyio.run(lambda: run(workers, prefetch, llm, objective, waves=options.waves))  # noqa: B023
        wanted = expected(workers, prefetch, one.utilization)
        told = f"{one.utilization:.0%} | {wanted:.1f} | {one.staleness:.1f} | {one.most} | {one.in_flight:.1f}"
        print(f"| {prefetch} | {told} |", flush=True)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
