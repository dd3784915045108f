"""The door to Optuna's storage: reads become snapshots, proposals become trials, outcomes are told.

Everything here blocks; the engine calls it on its storage thread.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeVar

from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..errors import OptunaLLMError, SetUpError
from ..foreign_text import summary
from ..logs import get_logger
from ..outcome import Failure, Outcome
from ..records import EMPTY, Proposal, SearchSpace, Signature
from .attributes import (
    FAILURE_ATTRIBUTE,
    LLM_ATTRIBUTE,
    MAX_REPAIRS,
    RETRY_BY_ATTRIBUTE,
    RUN_ATTRIBUTE,
    SPENDING_PREFIX,
    as_list,
    charge_of,
    duplicated,
    is_meant_to_repeat,
    llm_of,
    next_try,
    proposal_attributes,
    retry_history,
    signature_attributes,
    signed,
)
from .journal_repair import patience_with
from .optuna_internals import (
    create_from,
    fail_trial,
    forget_cached_trials,
    id_of,
    preset_values,
    study_key,
    suggest_all,
    tell,
    unfiltered,
)
from .patience import is_away
from .snapshot import Snapshot
from .state import SpentHere, StudyState

T = TypeVar("T")

# Invariant: at most one thread of this process is between reading an enqueued trial as WAITING and making it RUNNING.
# SQLite would give one to two.
_popping = threading.Lock()

logger = get_logger("optuna_llm.engine")


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
        self.spending, self.spent = self.state.spending, SpentHere(self.state.spending)
        self.sharing = self.state.sharing
        self.snapshot = self.state.snapshot  # the last reading with what is in flight now; touches no storage
        self.key = study_key(study)
        self._storage, self._study_id = study._storage, study._study_id
        self.patience = patience_with(self._storage, self.key)

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
            if self.state.age() < seconds:
                return self.snapshot()
        return self.refresh()

    def catch_up(self, seconds: float) -> None:
        """Read the study if the last reading is older than `seconds`, and judge who works on it, if a run here does."""
        if self.state.age() > seconds:
            next(iter(tuple(self.sharing.readers.values())), self.refresh)()

    def read_attributes(self) -> Mapping[str, Any]:
        """The study's user attributes in storage."""
        return dict(self._storage.get_study_user_attrs(self._study_id))

    def write_attribute(self, name: str, value: Any) -> None:
        """Store a user attribute of the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    def stored(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        """A trial as it is in storage now."""
        return self._storage.get_trial(id_of(trial))

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
        except Exception as error:
            logger.warning("The next reading will show what was written; the one after it failed: %s", summary(error))
            return None
        return stored

    def is_unsigned(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is RUNNING, and bears no run's id yet."""
        now = self.stored(trial)
        return now.state is TrialState.RUNNING and RUN_ATTRIBUTE not in now.system_attrs

    def is_waiting(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is still to be had."""
        return self.stored(trial).state is TrialState.WAITING

    @cached_property
    def direction(self) -> StudyDirection:
        """Which values are better; read once."""
        return self.study.direction

    def best(self) -> FrozenTrial | None:
        """The best trial as far as the study was read, None while none is complete."""
        history = self.state.history
        return history.highest if self.direction is StudyDirection.MAXIMIZE else history.lowest

    def metric_name(self) -> str | None:
        """The name of the value, if `study.set_metric_names` gave one."""
        return next(iter(self.study.metric_names or ()), None)

    # -- from a proposal to a trial

    def create(self, proposal: Proposal, *, params_in_one_write: bool, by: Signature) -> Trial:
        """Make a proposal a RUNNING trial in one storage write.

        `params_in_one_write`: all parameters are part of that write; otherwise the trial writes each as it is
        suggested. If the write fails, the proposal stays reserved, for another attempt; if what follows it fails, the
        trial is failed.
        """
        self.spending.own.add(by.run)
        params, space = (proposal.params, proposal.distributions) if params_in_one_write else (EMPTY, EMPTY)
        llm = self._record(proposal, by)
        signer = None if llm else by
        created = self.add_running(by=signer, user_attrs=llm, params=dict(params), distributions=dict(space))
        return self.adopt(created, proposal, params_in_one_write=params_in_one_write)

    def add_running(self, *, by: Signature | None, **fields: Any) -> int:
        """Store a RUNNING trial in one write, with this signature; returns its id."""
        template = create_trial(state=TrialState.RUNNING, system_attrs=signature_attributes(by), **fields)
        forget_cached_trials(self.study)
        return create_from(self.study, template)

    def adopt(self, trial_id: int, proposal: Proposal, *, params_in_one_write: bool) -> Trial:
        """Do the rest of `create` for a trial that is stored."""
        self.spent.record(proposal, charge_of(proposal.provenance))

        def set_up() -> Trial:
            trial = Trial(self.study, trial_id)
            if not params_in_one_write:
                self._preset(trial, proposal)
            self.reread(trial)
            return trial

        try:
            return self.set_up(trial_id, set_up)
        finally:
            self.in_flight.release(proposal)

    def take(
        self, waiting: FrozenTrial, proposal: Proposal, space: SearchSpace, by: Signature, *, popped: bool = False
    ) -> Trial | None:
        """Make an enqueued trial RUNNING, with a proposal for what it leaves open; None if somebody else took it.

        If it cannot be made RUNNING, everything stays as it was, for another attempt. `popped`: an earlier one did it.
        """
        self.spending.own.add(by.run)
        popped, recorded = popped or self.pop(waiting), False

        def set_up() -> Trial:
            nonlocal recorded
            self._sign(waiting, Signature(run=by.run) if proposal.provenance else by)  # perhaps over another run's
            trial = Trial(self.study, id_of(waiting))
            self._preset(trial, proposal)
            self.record(trial, proposal, by)
            recorded = True
            suggest_all(trial, space)
            self.reread(trial)
            return trial

        try:
            return self.set_up(id_of(waiting), set_up) if popped else None
        finally:
            self.in_flight.unclaim(waiting.number)
            if recorded:
                self.in_flight.release(proposal)
            else:
                self.give_up(proposal)

    def begin(self, by: Signature, waiting: FrozenTrial | None = None) -> int:
        """Store a RUNNING trial that has no parameters yet, `waiting` if that is still to be had; returns its id."""
        if waiting is None or not self.pop(waiting):
            return self.add_running(by=by)
        self.patience.retry_here("signing a trial", self._sign, waiting, by)
        return id_of(waiting)

    def ask(self, trial_id: int, search_space: SearchSpace | None) -> Trial:
        """Let the sampler suggest for a RUNNING trial, as `study.ask` does.

        If the sampler raises, the trial is failed; where the storage was away in between, `SetUpError` is raised.
        """
        try:
            with self._failing(trial_id):
                trial = Trial(self.study, trial_id)
                suggest_all(trial, search_space or {})
                return trial
        except Exception as error:
            if is_away(error):
                raise SetUpError(f"a trial was created, and failed before it could run: {summary(error)}") from error
            raise

    def pop(self, waiting: FrozenTrial) -> bool:
        """Make an enqueued trial RUNNING, unless somebody else did."""
        forget_cached_trials(self.study)
        with _popping, suppress(UpdateFinishedTrialError):
            return self.is_waiting(waiting) and self._storage.set_trial_state_values(
                id_of(waiting), state=TrialState.RUNNING
            )
        return False

    def record(
        self, trial: Trial | FrozenTrial, proposal: Proposal, by: Signature, earlier: Mapping[str, Any] = EMPTY
    ) -> None:
        """Write the provenance of a proposal on a trial that exists already; it includes `earlier` calls for it."""
        for name, value in self._record(proposal, by).items():
            self._set_user_attr(trial, name, value)
        self.spent.record(proposal, charge_of(proposal.provenance) - charge_of(earlier))

    def give_up(self, proposal: Proposal) -> None:
        """Drop the reservation of a proposal that no trial records: what it took stays untracked spending."""
        self.in_flight.release(proposal)
        self.spending.give_up(proposal)

    def save_spending(self) -> bool:
        """Store what was spent that no trial has on record; says whether the study holds it now.

        A storage that fails here ends no run: the amount stays unsaved, and is written the next time.
        """
        with self.spending.writing:
            total = self.spending.unsaved()
            if total is None:
                return True
            try:
                self.write_attribute(f"{SPENDING_PREFIX}{self.token}", asdict(total))
            except Exception as error:
                logger.warning("What was spent without a trial (%s) is not in the study yet: %s", total, summary(error))
                return False
            self.spending.mark_saved(total)
            return True

    def set_up(self, trial_id: int, job: Callable[[], T]) -> T:
        """Do what is left to do for a trial that was just stored, again while the storage is away.

        If it raises anything else, the trial is failed, and `SetUpError` raised.
        """
        try:
            with self._failing(trial_id):
                return self.patience.retry_here("setting up a trial", job)
        except OptunaLLMError:
            raise
        except Exception as error:
            raise SetUpError(f"a trial was created, and failed before it could run: {summary(error)}") from error

    # -- from an outcome to a finished trial

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

    # -- inside

    def _mark_cross_process_duplicate(self, trial: FrozenTrial) -> None:
        """Record `duplicate_of` when another process ran the same configuration at the same moment."""
        llm = llm_of(trial)
        if not llm or llm.get("duplicate_of") is not None or is_meant_to_repeat(trial):
            return
        if (number := duplicated(trial, self.refresh().with_params(trial.params))) is not None:
            self._set_user_attr(trial, LLM_ATTRIBUTE, {**llm, "duplicate_of": number})

    def _preset(self, trial: Trial, proposal: Proposal) -> None:
        """Let a trial that exists suggest a proposal's values, without asking the sampler again."""
        preset_values(trial, proposal.params, proposal.distributions)
        self.in_flight.assign(proposal, trial.number)

    def record_failure(self, trial: Trial | FrozenTrial, failure: Failure, retry_by: str | None = None) -> None:
        """Write why a trial fails, before it is told; `retry_by` is the run that tries its configuration again."""
        self._set_user_attr(trial, FAILURE_ATTRIBUTE, asdict(failure))
        if retry_by is not None:
            self._storage.set_trial_system_attr(id_of(trial), RETRY_BY_ATTRIBUTE, retry_by)

    def _sign(self, trial: FrozenTrial, by: Signature) -> None:
        for name, value in signature_attributes(by).items():
            self._storage.set_trial_system_attr(id_of(trial), name, value)

    def _set_user_attr(self, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(id_of(trial), name, value)

    def _record(self, proposal: Proposal, by: Signature) -> dict[str, Any]:
        """The user attributes that say how a trial was proposed; none if nothing is known of it."""
        if not proposal.provenance:
            return {}
        staleness = max(0, len(self.state.history.finished) - proposal.seen)
        return proposal_attributes({**proposal.provenance, "staleness": staleness, **signed(by)})

    @contextmanager
    def _failing(self, trial_id: int) -> Iterator[None]:
        """Fail the trial if anything in this block raises, rather than leave it RUNNING."""
        try:
            yield
        except BaseException:
            self.patience.retry_here("failing a trial", self._fail_open, trial_id)
            raise

    def _fail_open(self, trial_id: int) -> None:
        trial = self._storage.get_trial(trial_id)
        self.in_flight.close(trial.number)
        if not trial.state.is_finished():
            fail_trial(self.study, trial)
