"""From a proposal, or an enqueued trial, to a trial that runs."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...errors import OptunaLLMError, SetUpError
from ...foreign_text import summary
from ...records import EMPTY, Proposal, SearchSpace, Signature
from ..attributes import charge_of, proposal_attributes, signature_attributes, signed
from ..optuna_internals import create_from, fail_trial, forget_cached_trials, id_of, preset_values, suggest_all
from ..patience import is_away
from .access import StudyAccess

T = TypeVar("T")

# Invariant: at most one thread of this process is between reading an enqueued trial as WAITING and making it RUNNING.
# SQLite would give one to two.
_popping = threading.Lock()


class TrialBeginnings(StudyAccess):
    """Stores trials that run, and leaves none RUNNING that could not begin."""

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

    # -- inside

    def _preset(self, trial: Trial, proposal: Proposal) -> None:
        """Let a trial that exists suggest a proposal's values, without asking the sampler again."""
        preset_values(trial, proposal.params, proposal.distributions)
        self.in_flight.assign(proposal, trial.number)

    def _sign(self, trial: FrozenTrial, by: Signature) -> None:
        for name, value in signature_attributes(by).items():
            self._storage.set_trial_system_attr(id_of(trial), name, value)

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
