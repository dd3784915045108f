"""The engine on trio: model calls run on their own asyncio loop, whatever loop the caller has."""

import anyio
import optuna
import trio
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, ask_async, optimize_async


async def score(trial: AsyncTrial) -> float:
    await trio.lowlevel.checkpoint()
    return float(trial.params["momentum"])


def test_async_objectives_run_on_trio() -> None:
    study = optuna.create_study(sampler=sampler())

    async def main() -> int:
        report = await optimize_async(study, score, n_trials=12, n_workers=4, prefetch=2, search_space=SPACE)
        return report.n_complete

    assert anyio.run(main, backend="trio") == 12


def test_plain_objectives_discover_their_space_on_trio() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(3)))

    async def main() -> int:
        report = await optimize_async(study, lambda trial: trial.suggest_float("x", 0, 1), n_trials=6, n_workers=3)
        return report.n_complete

    assert anyio.run(main, backend="trio") == 6


def test_a_cancelled_run_on_trio_leaves_nothing_running() -> None:
    study = optuna.create_study(sampler=sampler())

    async def forever(trial: AsyncTrial) -> float:
        if trial.number == 3:
            scope.cancel()
        return float(await trio.sleep_forever())

    scope = trio.CancelScope()

    async def main() -> None:
        with scope:
            await optimize_async(study, forever, n_trials=12, n_workers=4, search_space=SPACE)

    anyio.run(main, backend="trio")
    assert len(study.trials) == 4
    assert all(trial.state is optuna.trial.TrialState.FAIL for trial in study.trials)


def test_a_batch_of_trials_is_asked_for_on_trio() -> None:
    study = optuna.create_study(sampler=sampler())
    trials = anyio.run(lambda: ask_async(study, 3, search_space=SPACE), backend="trio")
    assert sorted(trial.number for trial in trials) == [0, 1, 2]
