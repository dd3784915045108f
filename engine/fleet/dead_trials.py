"""Trials whose run died are ended; a result that comes all the same is added to the study."""

import logging
from dataclasses import asdict
from typing import Final

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..outcome import late, run_died
from ..records import FAILURE_ATTRIBUTE, LATE_ATTRIBUTE, LLM_ATTRIBUTE, RUN_DIED, Outcome
from ..study.door import NOTHING_SPENT, StudyDoor
from ..study.snapshot import failure_type, llm_of
from .leases import RUN_ATTRIBUTE, run_of
from .total_trials import has_place

VALUE_ATTRIBUTE: Final = "late_value"

logger = logging.getLogger("optuna_llm.engine")


def reap(door: StudyDoor, trial: FrozenTrial, retries: int) -> bool:
    """Fail a RUNNING trial of a dead run, and enqueue it anew within its retries; says whether it was we who did."""
    storage = door.study._storage
    failure = run_died().failure
    assert failure is not None
    try:
        storage.set_trial_user_attr(trial._trial_id, FAILURE_ATTRIBUTE, asdict(failure))
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    told = door.look(trial._trial_id)
    logger.warning("Trial %d was left RUNNING by run %s, which died: it is failed", trial.number, run_of(trial))
    if retries and told is not None:
        door.retry(told, retries)
    return True


def is_reaped(trial: FrozenTrial) -> bool:
    """Whether a trial was ended because its run was thought dead."""
    return failure_type(trial) == RUN_DIED


def add_late(door: StudyDoor, reaped: FrozenTrial, outcome: Outcome, run: str, total: int | None) -> FrozenTrial:
    """The result of a reaped trial becomes a trial: its own retry if that waits still, else a new one.

    If the total allows no more it is failed, and carries the value. Called again after a failure, it goes on with
    the trial that it had made.
    """
    holder = _known(door, reaped) or _retry(door, reaped) or _created(door, reaped, run)
    if holder.state.is_finished():
        return holder
    place = total is None or has_place(holder.number, door.refresh(), total)
    logger.warning(
        "The result of trial %d came after it was given up: it is trial %d now", reaped.number, holder.number
    )
    storage = door.study._storage
    marks = {LATE_ATTRIBUTE: reaped.number, VALUE_ATTRIBUTE: outcome.value}
    for name, value in marks.items():
        storage.set_trial_user_attr(holder._trial_id, name, value)
    for step, value in reaped.intermediate_values.items():
        storage.set_trial_intermediate_value(holder._trial_id, step, value)
    return door.tell(Trial(door.study, holder._trial_id), outcome if place else late(reaped.number, outcome))


def _known(door: StudyDoor, reaped: FrozenTrial) -> FrozenTrial | None:
    """The trial that an attempt before this one has made."""
    now = door.refresh()
    trials = (*now.running, *reversed(now.finished), *now.surplus)
    return next((trial for trial in trials if trial.user_attrs.get(LATE_ATTRIBUTE) == reaped.number), None)


def _retry(door: StudyDoor, reaped: FrozenTrial) -> FrozenTrial | None:
    """Take the retry that waits for its turn: what it is for is known now."""
    for trial in door.refresh().waiting:
        if trial.system_attrs.get("retry_history", [None])[-1] == reaped.number and door.claimed(trial):
            return trial
    return None


def _created(door: StudyDoor, reaped: FrozenTrial, run: str) -> FrozenTrial:
    llm = llm_of(reaped)
    template = create_trial(
        state=TrialState.RUNNING,
        params=reaped.params,
        distributions=reaped.distributions,
        user_attrs={LATE_ATTRIBUTE: reaped.number, **({LLM_ATTRIBUTE: {**llm, **NOTHING_SPENT}} if llm else {})},
        system_attrs={RUN_ATTRIBUTE: run},
    )
    trial_id = door.study._storage.create_new_trial(door.study._study_id, template_trial=template)
    return door.study._storage.get_trial(trial_id)
