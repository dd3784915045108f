"""`ask_async` hands out a whole batch of trials, or leaves nothing behind."""

import anyio
import anyio.lowlevel
import optuna
import pytest
from objectives import nothing_reserved, states
from optuna.trial import TrialState
from support import SPACE, sampler

from optuna_llm import UsageError, ask_async

pytestmark = pytest.mark.asyncio


async def test_ask_async_without_a_known_space_is_refused() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="no parameter is known yet"):
        await ask_async(study, 2)


async def test_cancelled_asks_leave_nothing_reserved_and_nothing_running() -> None:
    study = optuna.create_study(sampler=sampler())
    for turn in range(40):
        with anyio.move_on_after(turn / 8000):
            for trial in await ask_async(study, 3, search_space=SPACE):
                study.tell(trial, 1.0)
    await nothing_reserved(study)
    assert TrialState.RUNNING not in states(study)
