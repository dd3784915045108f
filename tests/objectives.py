"""Objectives over `support.SPACE`, and what became of a study."""

from collections.abc import Iterable

import anyio
import anyio.lowlevel
import optuna
from optuna.trial import FrozenTrial, TrialState
from support import llm_sampler

from optuna_llm import AsyncTrial


async def score(trial: AsyncTrial) -> float:
    await anyio.lowlevel.checkpoint()
    return float(trial.params["momentum"])


def plain_score(trial: optuna.Trial) -> float:
    return float(trial.params["momentum"])


def states(study: optuna.Study) -> dict[TrialState, int]:
    found = [trial.state for trial in study.trials]
    return {state: found.count(state) for state in set(found)}


def failure(trials: Iterable[FrozenTrial]) -> str:
    """Type and message of the one trial that failed."""
    (failed,) = [trial.user_attrs["failure"] for trial in trials if trial.state is TrialState.FAIL]
    return f"{failed['type']}: {failed['message']}"


async def nothing_reserved(study: optuna.Study) -> None:
    """What was accepted at the moment of the cancellation is released on the other thread, a moment later."""
    door = llm_sampler(study).door(study)
    with anyio.fail_after(60):
        while door.snapshot().reserved:  # noqa: ASYNC110 (there is no event to wait for)
            await anyio.sleep(0.001)
