"""What one objective call came to, judged as `Study.optimize` would."""

import math
import traceback
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.trial import TrialState

from .records import INTERRUPTED, RUN_DIED, SURPLUS, Failure, Outcome
from .scrub import scrub

MAX_MESSAGE = 500
MAX_TRACEBACK = 2000


def completed(value: Any) -> Outcome:
    """The objective returned: COMPLETE, or FAIL if `value` is no number or NaN (infinities are numbers)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _unusable(f"the objective returned {_clip(repr(value), 100)}, which is not a number")
    if math.isnan(number):
        return _unusable("the objective returned NaN")
    return Outcome(state=TrialState.COMPLETE, value=number)


def pruned() -> Outcome:
    """The objective raised `TrialPruned`."""
    return Outcome(state=TrialState.PRUNED)


def failed(error: BaseException) -> Outcome:
    """The objective raised; what looks like a key is taken out of the record."""
    text = scrub("".join(traceback.format_exception(error)))
    failure = Failure(
        type=type(error).__name__, message=_clip(scrub(str(error)), MAX_MESSAGE), traceback=text[-MAX_TRACEBACK:]
    )
    return Outcome(state=TrialState.FAIL, failure=failure, error=error)


def timed_out(limit: float | None) -> Outcome:
    """The objective was ended by `trial_timeout` (seconds); this never ends the run."""
    message = f"the objective ran longer than trial_timeout={limit} s"
    return Outcome(state=TrialState.FAIL, failure=Failure(type="TimeoutError", message=message))


def interrupted() -> Outcome:
    """A signal ended the run, and the objective did not finish within its grace."""
    message = "the run was ended by a signal before the objective finished"
    return Outcome(state=TrialState.FAIL, failure=Failure(type=INTERRUPTED, message=message))


def surplus(total: int) -> Outcome:
    """The study has all the trials that it was to have; this one was not evaluated."""
    message = f"not evaluated: the study has no place left within total_trials={total}"
    return Outcome(state=TrialState.FAIL, failure=Failure(type=SURPLUS, message=message))


def run_died() -> Outcome:
    """The process that ran the trial died before it was told."""
    message = "the run that evaluated this trial died, or lost its storage, before it was told"
    return Outcome(state=TrialState.FAIL, failure=Failure(type=RUN_DIED, message=message))


def late(number: int, outcome: Outcome) -> Outcome:
    """The result of a trial that was given up came after the total was reached."""
    message = f"the result of trial {number}, {outcome.value!r}, came when total_trials was reached already"
    return Outcome(state=TrialState.FAIL, failure=Failure(type=SURPLUS, message=message))


def cancelled() -> Outcome:
    """The run was cancelled around the objective."""
    return Outcome(state=TrialState.FAIL, failure=Failure(type=INTERRUPTED, message="the run was cancelled"))


def of_exception(error: BaseException) -> Outcome:
    """PRUNED for `TrialPruned`, FAIL for everything else."""
    return pruned() if isinstance(error, TrialPruned) else failed(error)


def _unusable(message: str) -> Outcome:
    return Outcome(state=TrialState.FAIL, failure=Failure(type="ValueError", message=message))


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
