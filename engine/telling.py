"""A result is told, or somebody hears of it: a storage that fails is tried again, for a bounded time."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

import anyio
from optuna import Trial
from optuna.trial import FrozenTrial

from .errors import OptunaLLMError
from .lanes import Lanes
from .reaping import is_reaped
from .records import Outcome
from .threads import JobThread

P = ParamSpec("P")
T = TypeVar("T")

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
STORAGE_SECONDS: Final = 60.0
"""How long a storage may fail, or not answer, before its result is given up and reported."""

logger = logging.getLogger("optuna_llm.engine")


async def surely(lane: JobThread, what: str, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a storage call that may be repeated, again and again while it raises; `what` names it.

    Raises this library's own errors at once, and `OptunaLLMError` once the storage has failed, or not answered, for
    `STORAGE_SECONDS`.
    """
    last: Exception | None = None
    delay = FIRST_DELAY
    with anyio.move_on_after(STORAGE_SECONDS):
        while True:
            try:
                return await lane.run(job, *args, **kwargs)
            except OptunaLLMError:
                raise
            except Exception as error:
                last = error
            logger.warning("The storage failed while %s (%r); trying again in %.1f s", what, last, delay)
            await anyio.sleep(delay)
            delay = min(LONGEST_DELAY, 2 * delay)
    why = "it did not answer" if last is None else f"the last error: {last!r}"
    raise OptunaLLMError(f"the storage failed for {STORAGE_SECONDS:g} s while {what} ({why})") from last


async def tell_surely(
    lanes: Lanes, tell: Callable[[Trial, Outcome], FrozenTrial], trial: Trial, outcome: Outcome
) -> FrozenTrial:
    """Tell on the storage lane, again and again while that raises; shielded from cancellation.

    Raises `OptunaLLMError`, which holds the result, if it was not told within `STORAGE_SECONDS`. What is raised
    although the result is stored, by a sampler's `after_trial` for one, is raised as it is.
    """
    last: Exception | None = None
    delay = FIRST_DELAY
    with anyio.move_on_after(STORAGE_SECONDS, shield=True):
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
        stored = await lanes.storage.run(lanes.door.stored, trial._trial_id)
        return stored.state.is_finished() and not is_reaped(stored)
    return False


def untold(trial: Trial, outcome: Outcome, error: Exception | None) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    why = "it did not answer" if error is None else f"the last error: {error!r}"
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} within {STORAGE_SECONDS:g} s ({why}); "
        f"the result: {result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
