"""A result is told, or somebody hears of it: a storage that fails is tried again, for a bounded time."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio
from optuna import Trial
from optuna.trial import FrozenTrial

from .errors import OptunaLLMError
from .lanes import Lanes
from .records import Outcome

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
TELL_SECONDS: Final = 60.0
"""How long a storage may fail, or not answer, before its result is given up and reported."""

logger = logging.getLogger("optuna_llm.engine")


async def tell_surely(
    lanes: Lanes, tell: Callable[[Trial, Outcome], FrozenTrial], trial: Trial, outcome: Outcome
) -> FrozenTrial:
    """Tell on the storage lane, again and again while that raises; shielded from cancellation.

    Raises `OptunaLLMError`, which holds the result, if it was not told within `TELL_SECONDS`. What is raised although
    the result is stored, by a sampler's `after_trial` for one, is raised as it is.
    """
    last: Exception | None = None
    delay = FIRST_DELAY
    with anyio.move_on_after(TELL_SECONDS, shield=True):
        while True:
            try:
                return await lanes.storage.run(lanes.stoppable, tell, trial, outcome)
            except Exception as error:
                last = error
            if await _is_stored(lanes, trial):
                raise last
            logger.warning("Telling trial %d failed (%r); trying again in %.1f s", trial.number, last, delay)
            await anyio.sleep(delay)
            delay = min(LONGEST_DELAY, 2 * delay)
    lost = untold(trial, outcome, last)
    logger.error("%s", lost)  # a run raises one error, and several results may be lost
    raise lost from last


async def _is_stored(lanes: Lanes, trial: Trial) -> bool:
    with suppress(Exception):  # a storage that cannot be read has not taken the result, as far as we know
        return await lanes.storage.run(lanes.door.is_finished, trial._trial_id)
    return False


def untold(trial: Trial, outcome: Outcome, error: Exception | None) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    why = "it did not answer" if error is None else f"the last error: {error!r}"
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} within {TELL_SECONDS:g} s ({why}); "
        f"the result: {result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
