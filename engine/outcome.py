"""What one objective call came to, judged as `Study.optimize` would."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from optuna.exceptions import TrialPruned
from optuna.trial import TrialState

from .foreign_text import said, text_of, traceback_of

# A trial keeps its failure for good: long enough for the innermost frames of a traceback.
MAX_TRACEBACK: Final = 2000
MAX_VALUE: Final = 100  # characters of a value that is no number

# Types of failures that are not an exception's.
SURPLUS: Final = "Surplus"  # the study's total has no place for the trial
INTERRUPTED: Final = "Interrupted"  # a signal, or the cancellation of its run, ended the trial
RUN_DIED: Final = "RunDied"  # the process of its run died
NOT_PROPOSED: Final = "NotProposed"  # no configuration could be had for a trial that exists already


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: the trial keeps it as its user attribute `failure`."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one objective call came to. `error` is the exception that a failed trial's objective raised, if any.

    `note` is what a pruned trial's objective said of it.
    """

    state: TrialState
    value: float | None = None
    failure: Failure | None = None
    error: BaseException | None = None
    note: str = ""


def completed(value: Any) -> Outcome:
    """COMPLETE, or FAIL if `value` is no number or NaN (infinities are numbers).

    A sequence of one number is that number: it is how objectives with several values return them.
    """
    if value is None:
        return _fail("ValueError", "the objective returned None, which is not a number (is a `return` missing?)")
    try:
        number = float(value[0] if _is_sequence(value) and len(value) == 1 else value)
    except Exception:  # whatever a class of the user's raises when it is asked for a number
        return _fail(
            "ValueError", f"the objective returned {said(text_of(value, repr), MAX_VALUE)}, which is not a number"
        )
    if math.isnan(number):
        return _fail("ValueError", "the objective returned NaN")
    return Outcome(state=TrialState.COMPLETE, value=number)


def of_exception(error: BaseException) -> Outcome:
    """PRUNED for `TrialPruned`, FAIL for everything else."""
    return pruned(str(error)) if isinstance(error, TrialPruned) else failed(error)


def pruned(note: str = "") -> Outcome:
    """The objective raised `TrialPruned`, with these words."""
    return Outcome(state=TrialState.PRUNED, note=said(note))


def failed(error: BaseException) -> Outcome:
    """The objective raised `error`; what looks like a secret is removed from the record."""
    failure = Failure(
        type=type(error).__name__, message=said(text_of(error)), traceback=traceback_of(error, MAX_TRACEBACK)
    )
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


def surplus(total: int | None) -> Outcome:
    """The study has all its trials; this one was not evaluated."""
    return _fail(SURPLUS, f"not evaluated: the study has no place left within total_trials={total}")


def late(number: int, outcome: Outcome) -> Outcome:
    """The result of trial `number` came after it was given up and the total was reached."""
    return _fail(
        SURPLUS, f"the result of trial {number}, {outcome.value!r}, came when total_trials was reached already"
    )


def not_proposed(error: Exception) -> Failure:
    """No configuration could be had for a trial that `study.optimize` had begun."""
    return Failure(type=NOT_PROPOSED, message=said(f"{type(error).__name__}: {text_of(error)}"))


def run_died() -> Failure:
    """The process that ran the trial died before telling it."""
    return Failure(
        type=RUN_DIED, message="the run that evaluated this trial died, or lost its storage, before it was told"
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _fail(kind: str, message: str) -> Outcome:
    return Outcome(state=TrialState.FAIL, failure=Failure(type=kind, message=message))
