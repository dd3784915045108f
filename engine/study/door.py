"""The door to Optuna's storage: reads become snapshots, proposals become trials, outcomes are told.

Everything here blocks; the engine calls it on its storage thread.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..errors import OptunaLLMError, SetUpError
from ..outcome import Failure, Outcome
from ..records import EMPTY, Proposal, SearchSpace
from .attributes import (
    FAILURE_ATTRIBUTE,
    LLM_ATTRIBUTE,
    MAX_REPAIRS,
    RETRY_ATTRIBUTE,
    RUN_ATTRIBUTE,
    SPENDING_PREFIX,
    as_list,
    charge_of,
    is_meant_to_repeat,
    llm_of,
    retry_history,
    unspent_record,
)
from .optuna_internals import (
    fail_trial,
    forget_cached_trials,
    id_of,
    preset_values,
    study_key,
    suggest_all,
    unfiltered,
)
from .snapshot import Snapshot
from .state import StudyState

# Invariant: at most one thread of this process is between reading an enqueued trial as WAITING and making it RUNNING.
# SQLite would give one to two.
_popping = threading.Lock()

logger = logging.getLogger("optuna_llm.engine")


class StudyDoor:
    """One study, as this process reads and writes it, whatever a pruner filters; safe to use from several threads.

    All doors with one `state` share what is in flight. `key` tells the study from others in this process. `token` names
    who spends through this door; without one nothing is asked of a model, and the study's own attributes are not read.
    """

    def __init__(self, study: Study, state: StudyState | None = None, *, token: str = "") -> None:
        self.study = study = unfiltered(study)
        self.state = StudyState() if state is None else state
        self.token = token
        self.in_flight = self.state.in_flight
        self.spending = self.state.spending
        self.sharing = self.state.sharing
        self.snapshot = self.state.snapshot  # the last reading with what is in flight now; touches no storage
        self.key = study_key(study)
        self._storage, self._study_id = study._storage, study._study_id

    def __repr__(self) -> str:
        now = self.snapshot()
        return (
            f"StudyDoor({self.study.study_name!r}, finished={len(now.finished)}, running={len(now.running)}, "
            f"waiting={len(now.waiting)}, reserved={len(now.reserved)})"
        )

    # -- reading

    @property
    def is_shareable(self) -> bool:
        """Whether other processes can work on the study at all; what is in memory dies with its process."""
        return not isinstance(self._storage, InMemoryStorage)

    def refresh(self) -> Snapshot:
        """Read the study from storage."""
        with self.state.reading:
            attributes = self.read_attributes() if self.token else EMPTY
            return self.state.update(self._storage.get_all_trials(self._study_id, deepcopy=False), attributes)

    def recent(self, seconds: float) -> Snapshot:
        """A snapshot that is at most `seconds` old: many who look at once share a reading."""
        with self.state.reading:
            if time.monotonic() - self.state.read_at < seconds:
                return self.snapshot()
        return self.refresh()

    def read_attributes(self) -> Mapping[str, Any]:
        """The study's user attributes in storage."""
        return dict(self._storage.get_study_user_attrs(self._study_id))

    def write_attribute(self, name: str, value: Any) -> None:
        """Store a user attribute of the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    def stored(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        """A trial as it is in storage now."""
        return self._storage.get_trial(trial._trial_id)

    def reread(self, trial: Trial | FrozenTrial) -> FrozenTrial | None:
        """Take in a trial that was just written, and no other: listing a long study takes time in proportion to it.

        None if the reading fails: what was written stands, and the next reading shows it.
        """
        try:
            with self.state.reading:
                stored = self.stored(trial)
                known = self.state.update_one(stored)
            if not known:
                self.refresh()
        except Exception:
            logger.warning("Reading the study failed after a write to it; the next reading will show it", exc_info=True)
            return None
        return stored

    def is_waiting(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is still to be had."""
        return self.stored(trial).state is TrialState.WAITING

    def best_value(self) -> float | None:
        """The best value of the study, None while no trial is complete."""
        with suppress(ValueError):
            return self.study.best_value
        return None

    # -- from a proposal to a trial

    def create(self, proposal: Proposal, *, params_in_one_write: bool, run: str) -> Trial:
        """Make a proposal a RUNNING trial in one storage write.

        `params_in_one_write`: all parameters are part of that write; otherwise the trial writes each as it is
        suggested. If the write fails, the proposal stays reserved, for another attempt; if what follows it fails, the
        trial is failed.
        """
        self.spending.own.add(run)
        fields: dict[str, Any] = {}
        if params_in_one_write:
            fields = {"params": dict(proposal.params), "distributions": dict(proposal.distributions)}
        llm = self._record(proposal, run)
        created = self.add_running(run=None if llm else run, user_attrs=llm, **fields)
        return self.adopt(created, proposal, params_in_one_write=params_in_one_write)

    def add_running(self, *, run: str | None, **fields: Any) -> int:
        """Store a RUNNING trial in one write, signed by `run`; returns its id."""
        signature = {} if run is None else {RUN_ATTRIBUTE: run}
        template = create_trial(state=TrialState.RUNNING, system_attrs=signature, **fields)
        forget_cached_trials(self.study)
        return self._storage.create_new_trial(self._study_id, template_trial=template)

    def adopt(self, trial_id: int, proposal: Proposal, *, params_in_one_write: bool) -> Trial:
        """Do the rest of `create` for a trial that is stored."""
        try:
            with self.setting_up(trial_id):
                trial = Trial(self.study, trial_id)
                if not params_in_one_write:
                    self._preset(trial, proposal)
                self.reread(trial)
        finally:
            self.in_flight.release(proposal)
        return trial

    def is_made_of(self, trial: FrozenTrial, proposal: Proposal, *, params_in_one_write: bool) -> bool:
        """Whether a trial that nobody has begun to run is what `create` makes of a proposal."""
        one, other = ({**record, "staleness": None, "run": None} for record in (llm_of(trial), proposal.provenance))
        return one == other and trial.params == (proposal.params if params_in_one_write else {})

    def take(self, waiting: FrozenTrial, proposal: Proposal, search_space: SearchSpace, run: str) -> Trial | None:
        """Make an enqueued trial RUNNING, with a proposal for what it leaves open; None if somebody else took it.

        If it cannot be made RUNNING, everything stays as it was, for another attempt.
        """
        self.spending.own.add(run)
        popped = self.pop(waiting)
        recorded = False
        try:
            if not popped:
                return None
            with self.setting_up(id_of(waiting)):
                trial = self._signed(waiting, run)
                self._preset(trial, proposal)
                self.record(trial, proposal, run)
                recorded = True
                suggest_all(trial, search_space)
                self.reread(trial)
        finally:
            self.in_flight.unclaim(waiting.number)
            if recorded:
                self.in_flight.release(proposal)
            else:
                self.give_up(proposal)
        return trial

    def ask(self, search_space: SearchSpace | None, run: str, waiting: FrozenTrial | None = None) -> Trial:
        """Do what `study.ask` does, with the run's id on the trial from the first: for samplers that need a trial.

        `waiting` is taken if it is still to be had. If the sampler raises, the trial is failed.
        """
        popped = waiting if waiting is not None and self.pop(waiting) else None
        trial_id = self.add_running(run=run) if popped is None else id_of(popped)
        with self._failing(trial_id):
            trial = Trial(self.study, trial_id) if popped is None else self._signed(popped, run)
            suggest_all(trial, search_space or {})
        return trial

    def pop(self, waiting: FrozenTrial) -> bool:
        """Make an enqueued trial RUNNING, unless somebody else did."""
        forget_cached_trials(self.study)
        with _popping, suppress(UpdateFinishedTrialError):
            return self.is_waiting(waiting) and self._storage.set_trial_state_values(
                id_of(waiting), state=TrialState.RUNNING
            )
        return False

    def record(self, trial: Trial | FrozenTrial, proposal: Proposal, run: str) -> None:
        """Write the provenance of a proposal on a trial that exists already."""
        for name, value in self._record(proposal, run).items():
            self._set_user_attr(trial, name, value)

    def give_up(self, proposal: Proposal) -> None:
        """Drop the reservation of a proposal that no trial records, and add what it took to the untracked spending."""
        self.in_flight.release(proposal)
        self.spending.add(charge_of(proposal.provenance))

    def save_spending(self) -> None:
        """Store what was spent that no trial has on record.

        A storage that fails here ends no run: the amount stays unsaved, and is written the next time.
        """
        total = self.spending.unsaved()
        if total is None:
            return
        try:
            self.write_attribute(f"{SPENDING_PREFIX}{self.token}", asdict(total))
        except Exception:
            logger.warning("What was spent without a trial (%s) is not in the study yet", total, exc_info=True)
        else:
            self.spending.mark_saved(total)

    @contextmanager
    def setting_up(self, trial_id: int) -> Iterator[None]:
        """Fail the trial, and raise `SetUpError`, if anything in this block raises."""
        try:
            with self._failing(trial_id):
                yield
        except OptunaLLMError:
            raise
        except Exception as error:
            raise SetUpError(f"a trial was created, and failed before it could run: {error!r}") from error

    # -- from an outcome to a finished trial

    def tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Store an outcome, its failure first; returns the finished trial, as it is if it was finished already."""
        try:
            self.close(trial)
            if self.sharing.was_shared:
                self._mark_cross_process_duplicate(self.stored(trial))
            if outcome.failure is not None:
                self._set_user_attr(trial, FAILURE_ATTRIBUTE, asdict(outcome.failure))
            value = outcome.value if outcome.state is TrialState.COMPLETE else None
            forget_cached_trials(self.study)  # samplers that are told see all that was written
            told = self.study.tell(trial, value, state=outcome.state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            told = self.stored(trial)
        self.reread(trial)
        return told

    def close(self, trial: Trial | FrozenTrial) -> None:
        """Write the repairs that were made while a trial ran, and drop its assignment: it is about to be told."""
        repairs = self.in_flight.close(trial.number)
        if repairs and (llm := llm_of(self.stored(trial))):
            known = [*as_list(llm.get("repairs")), *repairs]
            self._set_user_attr(trial, LLM_ATTRIBUTE, {**llm, "repairs": known[:MAX_REPAIRS]})

    def fail(self, trial: FrozenTrial, failure: Failure) -> bool:
        """Fail a RUNNING trial of somebody else's; False if it was finished already."""
        try:
            self._set_user_attr(trial, FAILURE_ATTRIBUTE, asdict(failure))
            fail_trial(self.study, trial)
        except UpdateFinishedTrialError:
            return False
        return True

    def retry(self, trial: FrozenTrial, retries: int) -> bool:
        """Enqueue a failed trial's configuration anew unless it was tried `retries` times; says whether it did.

        The system attributes are those of Optuna's own `RetryFailedTrialCallback`.
        """
        history = [*retry_history(trial), trial.number]
        if len(history) > retries:
            return False
        attributes = {"failed_trial": history[0], **trial.system_attrs, RETRY_ATTRIBUTE: history}
        attributes.pop(RUN_ATTRIBUTE, None)  # whoever takes it signs it
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=unspent_record(trial, run=None),
                system_attrs=attributes,
            )
        )
        return True

    # -- inside

    def _mark_cross_process_duplicate(self, trial: FrozenTrial) -> None:
        """Record `duplicate_of` when another process ran the same configuration at the same moment.

        Of two running trials the higher number is the duplicate; otherwise the one told last, for only that one sees
        all parameters of both.
        """
        llm = llm_of(trial)
        if not llm or llm.get("duplicate_of") is not None or is_meant_to_repeat(trial):
            return
        for other in self.refresh().with_params(trial.params):
            first = other.number < trial.number
            owned = llm_of(other).get("duplicate_of") == trial.number
            if first or (other.state.is_finished() and other.number > trial.number and not owned):
                self._set_user_attr(trial, LLM_ATTRIBUTE, {**llm, "duplicate_of": other.number})
                return

    def _preset(self, trial: Trial, proposal: Proposal) -> None:
        """Let a trial that exists suggest a proposal's values, without asking the sampler again."""
        preset_values(trial, proposal.params, proposal.distributions)
        self.in_flight.assign(proposal, trial.number)

    def _signed(self, popped: FrozenTrial, run: str) -> Trial:
        """Put the run's id on a trial that was enqueued, perhaps with another run's record on it."""
        self._storage.set_trial_system_attr(id_of(popped), RUN_ATTRIBUTE, run)
        return Trial(self.study, id_of(popped))

    def _set_user_attr(self, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(id_of(trial), name, value)

    def _record(self, proposal: Proposal, run: str) -> dict[str, Any]:
        """The user attribute that says how a trial was proposed; none if nothing is known of it."""
        if not proposal.provenance:
            return {}
        staleness = max(0, len(self.state.history.finished) - proposal.seen)
        return {LLM_ATTRIBUTE: {**proposal.provenance, "staleness": staleness, "run": run}}

    @contextmanager
    def _failing(self, trial_id: int) -> Iterator[None]:
        """Fail the trial if anything in this block raises, rather than leave it RUNNING."""
        try:
            yield
        except BaseException:
            trial = self._storage.get_trial(trial_id)
            self.in_flight.close(trial.number)
            if not trial.state.is_finished():
                fail_trial(self.study, trial)
            raise
