"""A result is told, or somebody hears of it: a storage that fails is tried again, for a bounded time."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress

import anyio
from optuna import Trial
from optuna.trial import FrozenTrial

from ..errors import OptunaLLMError
from ..fleet.dead_trials import is_reaped
from ..records import Outcome
from ..study import retrying as insisting
from ..study.lanes import Lanes

logger = logging.getLogger("optuna_llm.engine")


async def tell_surely(
    lanes: Lanes, tell: Callable[[Trial, Outcome], FrozenTrial], trial: Trial, outcome: Outcome
) -> FrozenTrial:
    """Tell on the storage lane, again and again while that raises; shielded from cancellation.

    Raises `OptunaLLMError`, which holds the result, if it was not told within `STORAGE_SECONDS`. What is raised
    although the result is stored, by a sampler's `after_trial` for one, is raised as it is.
    """
    last: Exception | None = None
    delay = insisting.FIRST_DELAY
    with anyio.move_on_after(insisting.STORAGE_SECONDS, shield=True):
        while True:
            try:
                return await lanes.storage.run(lanes.stoppable, tell, trial, outcome)
            except Exception as error:
                last = error
            stored = await _stored(lanes, trial)
            if stored is not None:
                if _is_of_sampler(last):
                    raise last
                return stored
            logger.warning("Telling trial %d failed (%r); trying again in %.1f s", trial.number, last, delay)
            await anyio.sleep(delay)
            delay = min(insisting.LONGEST_DELAY, 2 * delay)
    lost = untold(trial, outcome, last)
    logger.error("%s", lost)  # a run raises one error, and several results may be lost
    raise lost from last


async def _stored(lanes: Lanes, trial: Trial) -> FrozenTrial | None:
    """The trial if its result is in storage."""
    with suppress(Exception):  # a storage that cannot be read has not taken the result, as far as we know
        stored = await lanes.storage.run(lanes.door.stored, trial._trial_id)
        return stored if stored.state.is_finished() and not is_reaped(stored) else None
    return None


def _is_of_sampler(error: BaseException) -> bool:
    """Whether a sampler raised it when it was told of the result, and not the storage when that was read again."""
    return any(frame.f_code.co_name == "after_trial" for frame, _ in traceback.walk_tb(error.__traceback__))


def untold(trial: Trial, outcome: Outcome, error: Exception | None) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    why = "it did not answer" if error is None else f"the last error: {error!r}"
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} within {insisting.STORAGE_SECONDS:g} s ({why}); "
        f"the result: {result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
