"""Trials whose run died are failed; a result that comes all the same is added to the study."""

from collections.abc import Callable

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from ..foreign_text import said
from ..logs import get_logger
from ..outcome import Outcome, late, run_died
from ..records import Signature
from ..study.attributes import (
    LATE_ATTRIBUTE,
    LATE_VALUE_ATTRIBUTE,
    repeats,
    retry_history,
    retry_promised_by,
    run_of,
    unspent_record,
)
from ..study.door import StudyDoor
from ..study.optuna_internals import id_of
from ..study.snapshot import Snapshot
from .total_trials import Places

logger = get_logger("optuna_llm.engine")


def reap(door: StudyDoor, trial: FrozenTrial, retries: int, *, by: str) -> bool:
    """Fail a RUNNING trial of a dead run, and enqueue it anew within its retries; says whether run `by` did it."""
    if not door.fail(trial, run_died(), retry_by=by if retries else None):
        return False
    failed = door.reread(trial)
    logger.warning("Failed trial %d: its run %s died and left it RUNNING", trial.number, said(str(run_of(trial))))
    if retries and failed is not None:
        door.retry(failed, retries)
    return True


def owed_retries(now: Snapshot, retries: int, lives: Callable[[str], bool]) -> list[FrozenTrial]:
    """The failed trials that a run was to enqueue anew, and did not before it died or ended; by number."""
    promised = [trial for trial in now.finished if trial.state is TrialState.FAIL and retry_promised_by(trial)]
    owed = [trial for trial in promised if not lives(str(retry_promised_by(trial)))]
    allowed = [trial for trial in owed if len(retry_history(trial)) < retries]
    missing = (trial for trial in allowed if not now.is_repeated(trial.number))
    return sorted(missing, key=lambda trial: trial.number)


def add_late(door: StudyDoor, reaped: FrozenTrial, outcome: Outcome, run: str, places: Places) -> FrozenTrial:
    """Make the result of a reaped trial a trial: its own retry if that still waits, else a new one.

    If `places` has none for it, that trial is failed and carries the value. Called again after a failure, it goes
    on with the trial that it had made.
    """
    now = door.refresh()
    begun = (*now.running, *reversed(now.finished), *now.unevaluated)
    made = (trial for trial in begun if trial.user_attrs.get(LATE_ATTRIBUTE) == reaped.number)
    retried = (trial for trial in now.waiting if repeats(trial, reaped.number))
    holder = next(made, None) or next((trial for trial in retried if door.pop(trial)), None)
    if holder is not None and holder.state.is_finished():
        return holder
    if holder is not None:
        trial_id = id_of(holder)
    else:
        attributes = {LATE_ATTRIBUTE: reaped.number, **unspent_record(reaped)}
        trial_id = door.add_running(
            by=Signature(run=run), params=reaped.params, distributions=reaped.distributions, user_attrs=attributes
        )
    trial = Trial(door.study, trial_id)
    has_place = places.has_place(trial.number, door.refresh())
    logger.warning("Trial %d holds the result of trial %d, which was given up too early", trial.number, reaped.number)
    trial.set_user_attr(LATE_ATTRIBUTE, reaped.number)
    trial.set_user_attr(LATE_VALUE_ATTRIBUTE, outcome.value)
    for name in reaped.constraints.keys() - trial.constraints.keys():
        trial.set_constraint(name, reaped.constraints[name])
    for step in reaped.intermediate_values.keys() - (holder.intermediate_values.keys() if holder else ()):
        trial.report(reaped.intermediate_values[step], step)
    return door.tell(trial, outcome if has_place else late(reaped.number, outcome))
