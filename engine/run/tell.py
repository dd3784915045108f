"""Store a result, or raise and log it: no result is lost silently."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress

from optuna import Trial
from optuna.trial import FrozenTrial

from ..errors import OptunaLLMError
from ..outcome import Outcome
from ..study.attributes import is_reaped
from ..study.lanes import Lanes, StorageTimeout
from ..study.optuna_internals import stored_trial

logger = logging.getLogger("optuna_llm.engine")


async def tell_surely(
    lanes: Lanes, tell: Callable[[Trial, Outcome], FrozenTrial], trial: Trial, outcome: Outcome
) -> FrozenTrial:
    """Tell on the storage thread, again while that raises; shielded from cancellation.

    Raises `OptunaLLMError`, which holds the result, if the storage did not take it in time. What a sampler's
    `after_trial` raises is raised as it is: the result is stored all the same.
    """

    async def attempt() -> FrozenTrial:
        try:
            return await lanes.storage.run(lanes.stoppable, tell, trial, outcome)
        except Exception as error:
            stored = None if _is_of_sampler(error) else await _stored(lanes, trial)
            if stored is None:
                raise
            return stored

    try:
        return await lanes.retry(
            f"telling trial {trial.number}", attempt, may_repeat=lambda error: not _is_of_sampler(error), shield=True
        )
    except StorageTimeout as timeout:
        lost = _lost(trial, outcome, lanes.policy.seconds, timeout.why)
        logger.error("%s", lost)  # a run raises one error, and several results may be lost
        raise lost from timeout.__cause__


async def _stored(lanes: Lanes, trial: Trial) -> FrozenTrial | None:
    """The trial if its result is in storage."""
    with suppress(Exception):  # a storage that cannot be read has not taken the result, as far as we know
        stored = await lanes.storage.run(stored_trial, lanes.door.study, trial)
        return stored if stored.state.is_finished() and not is_reaped(stored) else None
    return None


def _is_of_sampler(error: BaseException) -> bool:
    """Whether a sampler raised this when it was told of the result.

    Optuna calls `after_trial` in the middle of `study.tell`, and stores the result while its error passes. Only the
    traceback says who raised: the storage may raise the same types, before the result is stored and after.
    """
    return any(frame.f_code.co_name == "after_trial" for frame, _ in traceback.walk_tb(error.__traceback__))


def _lost(trial: Trial, outcome: Outcome, seconds: float, why: str) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} within {seconds:g} s ({why}); the result: "
        f"{result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
