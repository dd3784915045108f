"""From an outcome to a finished trial, and to a retry."""

from contextlib import suppress
from dataclasses import asdict

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from ...outcome import Failure, Outcome
from ..attributes import (
    FAILURE_ATTRIBUTE,
    LLM_ATTRIBUTE,
    MAX_REPAIRS,
    RETRY_BY_ATTRIBUTE,
    as_list,
    duplicated,
    is_meant_to_repeat,
    llm_of,
    next_try,
    retry_history,
)
from ..optuna_internals import fail_trial, forget_cached_trials, id_of, tell
from .access import StudyAccess


class TrialEndings(StudyAccess):
    """Stores what trials came to, with all that belongs to it written before."""

    def tell(self, trial: Trial, outcome: Outcome, *, retry_by: str | None = None) -> FrozenTrial:
        """Store an outcome, its failure first; returns the finished trial, as it is if it was finished already.

        `retry_by` is the run that will then enqueue a failed trial anew: should it die before, others see to it.
        """
        with suppress(UpdateFinishedTrialError):
            self.close(trial)
            if self.sharing.was_shared:
                self._mark_cross_process_duplicate(self.stored(trial))
            if outcome.failure is not None:
                self.record_failure(trial, outcome.failure, retry_by)
            value = outcome.value if outcome.state is TrialState.COMPLETE else None
            forget_cached_trials(self.study)  # samplers that are told see all that was written
            tell(self.study, trial, value, outcome.state)
        return self.reread(trial) or self.stored(trial)

    def close(self, trial: Trial | FrozenTrial) -> None:
        """Write the repairs that were made while a trial ran, and drop its assignment: it is about to be told."""
        repairs = self.in_flight.close(trial.number)
        if repairs and (llm := llm_of(self.stored(trial))):
            known = [*as_list(llm.get("repairs")), *repairs]
            self._set_user_attr(trial, LLM_ATTRIBUTE, {**llm, "repairs": known[:MAX_REPAIRS]})

    def fail(self, trial: FrozenTrial, failure: Failure, *, retry_by: str | None = None) -> bool:
        """Fail a RUNNING trial of somebody else's; False if it was finished already. `retry_by` is `tell`'s."""
        try:
            self.record_failure(trial, failure, retry_by)
            fail_trial(self.study, trial)
        except UpdateFinishedTrialError:
            return False
        return True

    def retry(self, trial: FrozenTrial, retries: int) -> bool:
        """Enqueue a failed trial's configuration anew, once, within its `retries`; says whether it did."""
        if len(retry_history(trial)) >= retries or self.refresh().is_repeated(trial.number):
            return False
        self.study.add_trial(next_try(trial))
        return True

    def record_failure(self, trial: Trial | FrozenTrial, failure: Failure, retry_by: str | None = None) -> None:
        """Write why a trial fails, before it is told; `retry_by` is the run that tries its configuration again."""
        self._set_user_attr(trial, FAILURE_ATTRIBUTE, asdict(failure))
        if retry_by is not None:
            self._storage.set_trial_system_attr(id_of(trial), RETRY_BY_ATTRIBUTE, retry_by)

    # -- inside

    def _mark_cross_process_duplicate(self, trial: FrozenTrial) -> None:
        """Record `duplicate_of` when another process ran the same configuration at the same moment."""
        llm = llm_of(trial)
        if not llm or llm.get("duplicate_of") is not None or is_meant_to_repeat(trial):
            return
        if (number := duplicated(trial, self.refresh().with_params(trial.params))) is not None:
            self._set_user_attr(trial, LLM_ATTRIBUTE, {**llm, "duplicate_of": number})
