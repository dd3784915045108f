"""The only door to Optuna's storage: reads become snapshots, proposals become trials, outcomes are told.

Everything here blocks; the engine calls it on its storage lane. What is not public in Optuna 5 is used in this file
alone, and pinned by tests: `study._storage`, `_study_id`, `_thread_local`, `_stop_flag`, `_study` of filtered studies,
and a trial's `_relative_params`.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..errors import OptunaLLMError, SetUpError
from ..fleet.leases import RUN_ATTRIBUTE
from ..records import (
    EMPTY,
    FAILURE_ATTRIBUTE,
    LATE_ATTRIBUTE,
    LLM_ATTRIBUTE,
    Charge,
    Outcome,
    Proposal,
    SearchSpace,
    as_list,
)
from .ledger import Ledger
from .snapshot import Snapshot, llm_of, same_as

_claiming = threading.Lock()  # one claim at a time in a process: SQLite would give one WAITING trial to two

NOTHING_SPENT = {"calls": 0, "reasks": 0, "repairs": [], "usage": None, "latency": 0.0}

SPENDING_ATTRIBUTE = "llm_spending"
MAX_REPAIRS = 12

logger = logging.getLogger("optuna_llm.engine")


class StudyDoor:
    """One study, as this process reads and writes it; safe to use from several threads."""

    def __init__(self, study: Study, ledger: Ledger | None = None, *, token: str = "") -> None:
        self.study = study
        self.ledger = ledger if ledger is not None else Ledger()
        self.token = token  # who spends through this door

    def __repr__(self) -> str:
        now = self.ledger.snapshot()
        return (
            f"StudyDoor({self.study.study_name!r}, finished={len(now.finished)}, running={len(now.running)}, "
            f"waiting={len(now.waiting)}, reserved={len(now.reserved)})"
        )

    def refresh(self) -> Snapshot:
        """Read the study from storage."""
        storage, study_id = self.study._storage, self.study._study_id
        with self.ledger.reading:
            attributes = storage.get_study_user_attrs(study_id) if self.ledger.reads_attributes else EMPTY
            snapshot = self.ledger.extend(storage.get_all_trials(study_id, deepcopy=False), _charges(attributes))
        self.ledger.tell_of(attributes)
        return snapshot

    def recent(self, seconds: float) -> Snapshot:
        """A snapshot that is at most that old: many who look at once share a reading."""
        with self.ledger.reading:
            if self.ledger.age < seconds:
                return self.ledger.snapshot()
        return self.refresh()

    def pay(self) -> None:
        """Keep in the study what was spent that no trial has on record.

        A storage that fails here ends no run: the amount stays due, and is written the next time.
        """
        due = self.ledger.due()
        if due is None:
            return
        name = f"{SPENDING_ATTRIBUTE}:{self.token}"
        try:
            self.study._storage.set_study_user_attr(self.study._study_id, name, asdict(due))
        except Exception:
            logger.warning("What was spent without a trial (%s) could not be kept in the study yet", due, exc_info=True)
        else:
            self.ledger.paid(due)

    def stored(self, trial_id: int) -> FrozenTrial:
        """A trial as it is in storage now."""
        return self.study._storage.get_trial(trial_id)

    def create(self, proposal: Proposal, *, written: bool, run: str) -> Trial:
        """Make a proposal a RUNNING trial in one storage write.

        `written`: all parameters are part of that write; otherwise the trial writes each as it is suggested. If the
        write fails, the proposal stays reserved, for another attempt; if what follows does, the trial is failed.
        """
        self.ledger.runs.add(run)
        attribute = self._attribute(proposal, run)
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(proposal.params) if written else {},
            distributions=dict(proposal.distributions) if written else {},
            user_attrs={LLM_ATTRIBUTE: attribute} if attribute else {},
            system_attrs={} if attribute else {RUN_ATTRIBUTE: run},
        )
        self.study._thread_local.cached_all_trials = None
        trial_id = self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
        return self.adopt(trial_id, proposal, written=written)

    def adopt(self, trial_id: int, proposal: Proposal, *, written: bool) -> Trial:
        """What is left of `create` once the trial is stored."""
        try:
            with self.setting_up(trial_id):
                trial = Trial(self.study, trial_id)
                if not written:
                    self._hand_over(trial, proposal)
                self.look(trial_id)
        finally:
            self.ledger.release(proposal)
        return trial

    def take(self, waiting: FrozenTrial, proposal: Proposal, search_space: SearchSpace, run: str) -> Trial | None:
        """Make an enqueued trial RUNNING, with a proposal for what it leaves open; None if somebody else took it.

        If it cannot be made RUNNING, everything stays as it was, for another attempt.
        """
        self.ledger.runs.add(run)
        self.study._thread_local.cached_all_trials = None
        taken = self.claimed(waiting)
        recorded = False
        try:
            if not taken:
                return None
            with self.setting_up(waiting._trial_id):
                self.sign(waiting, run)
                trial = Trial(self.study, waiting._trial_id)
                self._hand_over(trial, proposal)
                self.record(waiting._trial_id, proposal, run)
                recorded = True
                self._complete(trial, search_space)
                self.look(waiting._trial_id)
        finally:
            self.ledger.unclaim(waiting.number)
            self._let_go(proposal, recorded=recorded)
        return trial

    def ask(self, search_space: SearchSpace | None, run: str, waiting: FrozenTrial | None = None) -> Trial:
        """What `study.ask` does, for samplers that need a trial to propose, with the run's id on it from the first.

        `waiting` is taken if it is still to be had. If the sampler raises, the trial is failed.
        """
        self.study._thread_local.cached_all_trials = None
        if waiting is not None and self.claimed(waiting):
            trial_id = waiting._trial_id
        else:
            waiting = None
            template = create_trial(state=TrialState.RUNNING, system_attrs={RUN_ATTRIBUTE: run})
            trial_id = self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
        with self._failing(trial_id):
            if waiting is not None:
                self.sign(waiting, run)
            trial = Trial(self.study, trial_id)
            self._complete(trial, search_space or {})
        return trial

    def sign(self, taken: FrozenTrial, run: str) -> None:
        """Put the run's id on a trial that was enqueued, perhaps with another run's record on it."""
        self.study._storage.set_trial_system_attr(taken._trial_id, RUN_ATTRIBUTE, run)

    def record(self, trial_id: int, proposal: Proposal, run: str | None) -> None:
        """Write the provenance of a proposal on a trial that exists already."""
        attribute = self._attribute(proposal, run)
        if attribute:
            self.study._storage.set_trial_user_attr(trial_id, LLM_ATTRIBUTE, attribute)

    def settle(self, trial_id: int, number: int) -> None:
        """A trial is about to be told: write the repairs that were made while it ran, and forget its assignment."""
        repairs = self.ledger.close(number)
        llm = llm_of(self.stored(trial_id)) if repairs else EMPTY
        if llm:
            known = [*as_list(llm.get("repairs")), *repairs]
            self.study._storage.set_trial_user_attr(trial_id, LLM_ATTRIBUTE, {**llm, "repairs": known[:MAX_REPAIRS]})

    def _own_up(self, trial: FrozenTrial) -> None:
        """Write which trial this one repeats, if another process proposed the same at the same moment.

        Of two that run it is the one with the higher number, of others the one that is told last: it sees all
        parameters of both.
        """
        llm = llm_of(trial)
        if not llm or llm.get("duplicate_of") is not None or _is_meant_to_repeat(trial):
            return
        for other in same_as(trial.params, self.refresh()):
            first = other.number < trial.number
            owned = llm_of(other).get("duplicate_of") == trial.number
            if first or (other.state.is_finished() and other.number > trial.number and not owned):
                repeated = {**llm, "duplicate_of": other.number}
                self.study._storage.set_trial_user_attr(trial._trial_id, LLM_ATTRIBUTE, repeated)
                return

    def tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Store an outcome, its failure first, and return the finished trial, as it is if it was finished already."""
        complete = outcome.state is TrialState.COMPLETE
        try:
            self.settle(trial._trial_id, trial.number)
            if self.ledger.shared:
                self._own_up(self.stored(trial._trial_id))
            if outcome.failure is not None:
                self.study._storage.set_trial_user_attr(trial._trial_id, FAILURE_ATTRIBUTE, asdict(outcome.failure))
            value = outcome.value if complete else None
            told = self.study.tell(trial, value, state=outcome.state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            told = self.study._storage.get_trial(trial._trial_id)
        self.look(trial._trial_id)
        return told

    def retry(self, trial: FrozenTrial, retries: int) -> bool:
        """Enqueue a failed trial's configuration anew unless it was tried `retries` times; says whether it did.

        The system attributes are those of Optuna's own `RetryFailedTrialCallback`.
        """
        history = [*trial.system_attrs.get("retry_history", ()), trial.number]
        if len(history) > retries:
            return False
        attributes = {"failed_trial": history[0], **trial.system_attrs, "retry_history": history}
        attributes.pop(RUN_ATTRIBUTE, None)  # whoever takes it signs it
        llm = llm_of(trial)
        repeated = {LLM_ATTRIBUTE: {**llm, **NOTHING_SPENT, "run": None}} if llm else {}
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=repeated,
                system_attrs=attributes,
            )
        )
        return True

    def best_value(self) -> float | None:
        """The best value of the study, None while no trial is complete."""
        try:
            return self.study.best_value
        except ValueError:
            return None

    def _hand_over(self, trial: Trial, proposal: Proposal) -> None:
        """Let a trial that exists suggest a proposal's values, without asking the sampler again."""
        trial.relative_search_space = dict(proposal.distributions)
        trial._relative_params = dict(proposal.params)
        self.ledger.assign(proposal, trial.number)

    def _let_go(self, proposal: Proposal, *, recorded: bool) -> None:
        """Forget a reservation; what it took is on its trial's record, or is owed."""
        if recorded:
            self.ledger.release(proposal)
        else:
            self.ledger.give_up(proposal)

    def _complete(self, trial: Trial, search_space: SearchSpace) -> None:
        """Suggest every name of `search_space` at once, as `study.ask(fixed_distributions=...)` does."""
        for name, distribution in search_space.items():
            trial._suggest(name, distribution)

    def claimed(self, waiting: FrozenTrial) -> bool:
        """Make an enqueued trial RUNNING, unless somebody else did."""
        with _claiming:
            try:
                if not self.is_waiting(waiting):
                    return False
                return self.study._storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING)
            except UpdateFinishedTrialError:
                return False

    def is_waiting(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is still to be had."""
        return self.study._storage.get_trial(trial._trial_id).state is TrialState.WAITING

    @contextmanager
    def setting_up(self, trial_id: int) -> Iterator[None]:
        """What fails before a new trial runs fails the trial, and is a `SetUpError`."""
        try:
            with self._failing(trial_id):
                yield
        except OptunaLLMError:
            raise
        except Exception as error:
            raise SetUpError(f"a trial was created, and failed before it could run: {error!r}") from error

    @contextmanager
    def _failing(self, trial_id: int) -> Iterator[None]:
        """A trial whose setting up fails is failed, not left RUNNING."""
        try:
            yield
        except BaseException:
            trial = self.study._storage.get_trial(trial_id)
            self.ledger.close(trial.number)
            if not trial.state.is_finished():
                self.study._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            raise

    def look(self, trial_id: int) -> FrozenTrial | None:
        """Read the trial just written, and no other: to list a long study takes time in proportion to it.

        What was written stands, so a reading that fails is only late.
        """
        try:
            with self.ledger.reading:
                trial = self.study._storage.get_trial(trial_id)
                known = self.ledger.extend_one(trial)
            if not known:
                self.refresh()
        except Exception:
            logger.warning("Reading the study failed after a write to it; the next reading will show it", exc_info=True)
            return None
        return trial

    def holds(self, trial: FrozenTrial, proposal: Proposal, *, written: bool) -> bool:
        """Whether a trial that nobody has begun to run is what `create` makes of a proposal."""
        known, wanted = ({**record, "staleness": None, "run": None} for record in (llm_of(trial), proposal.provenance))
        return known == wanted and trial.params == (proposal.params if written else {})

    def _attribute(self, proposal: Proposal, run: str | None) -> Mapping[str, Any]:
        if not proposal.provenance:
            return {}
        staleness = len(self.ledger.snapshot().finished) - proposal.seen
        return {**proposal.provenance, "staleness": max(0, staleness), "run": run}


def _is_meant_to_repeat(trial: FrozenTrial) -> bool:
    """Whether a trial has the parameters of an earlier one because that one came to nothing."""
    return "retry_history" in trial.system_attrs or LATE_ATTRIBUTE in trial.user_attrs


def fixed_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that whoever enqueued a trial gave it."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def whole(study: Study) -> Study:
    """The study behind the filtered view that some pruners hand to samplers."""
    behind: Study = getattr(study, "_study", study)
    return behind


def _charges(attributes: Mapping[str, Any]) -> dict[str, Charge]:
    """What the study's attributes say was spent that no trial has on record, by who spent it."""
    prefix = f"{SPENDING_ATTRIBUTE}:"
    return {name.removeprefix(prefix): Charge(**value) for name, value in attributes.items() if name.startswith(prefix)}


# -- Study.stop, whose flag Optuna guards per thread


def stop_requested(study: Study) -> bool:
    """Whether `study.stop()` was called since the run began."""
    return bool(study._stop_flag)


def clear_stop(study: Study) -> None:
    """Forget earlier stops, as `Study.optimize` does when it begins."""
    study._stop_flag = False


@contextmanager
def stoppable(study: Study) -> Iterator[None]:
    """Allow `study.stop()` on this thread, and give samplers a fresh view of the trials on it.

    Blocks of several runs may overlap on one thread: the last one to end takes the permission back.
    """
    local: Any = study._thread_local
    depth = getattr(local, "optuna_llm_depth", 0)
    local.optuna_llm_depth = depth + 1
    local.in_optimize_loop, local.cached_all_trials = True, None
    try:
        yield
    finally:
        local.optuna_llm_depth -= 1
        local.in_optimize_loop = local.optuna_llm_depth > 0
