"""What one objective call came to, judged as `Study.optimize` would."""

import math
import traceback
from dataclasses import dataclass
from typing import Any, Final

from optuna.exceptions import TrialPruned
from optuna.trial import TrialState

from .errors import scrub

# A trial keeps its failure for good, and prompts show the message: long enough for a sentence or two of an exception,
# and for the innermost frames of its traceback.
MAX_MESSAGE: Final = 500
MAX_TRACEBACK: Final = 2000

# Types of failures that are not an exception's.
SURPLUS: Final = "Surplus"  # the study's total has no place for the trial
INTERRUPTED: Final = "Interrupted"  # a signal, or the cancellation of its run, ended the trial
RUN_DIED: Final = "RunDied"  # the process of its run died


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: the trial keeps it as its user attribute `failure`."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one objective call came to. `error` is the exception that a failed trial's objective raised, if any."""

    state: TrialState
    value: float | None = None
    failure: Failure | None = None
    error: BaseException | None = None


def completed(value: Any) -> Outcome:
    """COMPLETE, or FAIL if `value` is no number or NaN (infinities are numbers)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _fail("ValueError", f"the objective returned {_clip(repr(value), 100)}, which is not a number")
    if math.isnan(number):
        return _fail("ValueError", "the objective returned NaN")
    return Outcome(state=TrialState.COMPLETE, value=number)


def of_exception(error: BaseException) -> Outcome:
    """PRUNED for `TrialPruned`, FAIL for everything else."""
    return pruned() if isinstance(error, TrialPruned) else failed(error)


def pruned() -> Outcome:
    """The objective raised `TrialPruned`."""
    return Outcome(state=TrialState.PRUNED)


def failed(error: BaseException) -> Outcome:
    """The objective raised `error`; what looks like a key is removed from the record."""
    text = scrub("".join(traceback.format_exception(error)))
    message = _clip(scrub(str(error)), MAX_MESSAGE)
    failure = Failure(type=type(error).__name__, message=message, traceback=text[-MAX_TRACEBACK:])
    return Outcome(state=TrialState.FAIL, failure=failure, error=error)


def timed_out(limit: float | None) -> Outcome:
    """`trial_timeout` (seconds) ended the objective; this never ends the run."""
    return _fail("TimeoutError", f"the objective ran longer than trial_timeout={limit} s")


def interrupted() -> Outcome:
    """A signal ended the run, and the objective did not finish within its grace."""
    return _fail(INTERRUPTED, "the run was ended by a signal before the objective finished")


def cancelled() -> Outcome:
    """The run was cancelled around the objective."""
    return _fail(INTERRUPTED, "the run was cancelled")


def surplus(total: int) -> Outcome:
    """The study has all its trials; this one was not evaluated."""
    return _fail(SURPLUS, f"not evaluated: the study has no place left within total_trials={total}")


def late(number: int, outcome: Outcome) -> Outcome:
    """The result of trial `number` came after it was given up and the total was reached."""
    return _fail(
        SURPLUS, f"the result of trial {number}, {outcome.value!r}, came when total_trials was reached already"
    )


def run_died() -> Failure:
    """The process that ran the trial died before telling it."""
    return Failure(
        type=RUN_DIED, message="the run that evaluated this trial died, or lost its storage, before it was told"
    )


def _fail(kind: str, message: str) -> Outcome:
    return Outcome(state=TrialState.FAIL, failure=Failure(type=kind, message=message))


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
