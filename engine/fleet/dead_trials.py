"""Trials whose run died are failed; a result that comes all the same is added to the study."""

import logging

from optuna import Trial
from optuna.trial import FrozenTrial

from ..outcome import Outcome, late, run_died
from ..study.attributes import LATE_ATTRIBUTE, LATE_VALUE_ATTRIBUTE, retry_history, run_of, unspent_record
from ..study.door import StudyDoor
from ..study.optuna_internals import id_of
from .total_trials import Places

logger = logging.getLogger("optuna_llm.engine")


def reap(door: StudyDoor, trial: FrozenTrial, retries: int) -> bool:
    """Fail a RUNNING trial of a dead run, and enqueue it anew within its retries; says whether it was we who did."""
    if not door.fail(trial, run_died()):
        return False
    failed = door.reread(trial)
    logger.warning("Failed trial %d: its run %s died and left it RUNNING", trial.number, run_of(trial))
    if retries and failed is not None:
        door.retry(failed, retries)
    return True


def add_late(door: StudyDoor, reaped: FrozenTrial, outcome: Outcome, run: str, places: Places) -> FrozenTrial:
    """Make the result of a reaped trial a trial: its own retry if that still waits, else a new one.

    If `places` has none for it, that trial is failed and carries the value. Called again after a failure, it goes
    on with the trial that it had made.
    """
    now = door.refresh()
    begun = (*now.running, *reversed(now.finished), *now.surplus)
    made = (trial for trial in begun if trial.user_attrs.get(LATE_ATTRIBUTE) == reaped.number)
    retried = (trial for trial in now.waiting if tuple(retry_history(trial))[-1:] == (reaped.number,))
    holder = next(made, None) or next((trial for trial in retried if door.pop(trial)), None)
    if holder is not None and holder.state.is_finished():
        return holder
    if holder is not None:
        trial_id = id_of(holder)
    else:
        attributes = {LATE_ATTRIBUTE: reaped.number, **unspent_record(reaped)}
        trial_id = door.add_running(
            run=run, params=reaped.params, distributions=reaped.distributions, user_attrs=attributes
        )
    trial = Trial(door.study, trial_id)
    has_place = places.has_place(trial.number, door.refresh())
    logger.warning("Trial %d holds the result of trial %d, which was given up too early", trial.number, reaped.number)
    trial.set_user_attr(LATE_ATTRIBUTE, reaped.number)
    trial.set_user_attr(LATE_VALUE_ATTRIBUTE, outcome.value)
    for step in reaped.intermediate_values.keys() - (holder.intermediate_values.keys() if holder else ()):
        trial.report(reaped.intermediate_values[step], step)
    return door.tell(trial, outcome if has_place else late(reaped.number, outcome))
