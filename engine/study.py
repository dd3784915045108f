"""The only door to Optuna's storage: reads become snapshots, proposals become trials, outcomes are told.

Everything here blocks; the engine calls it on its storage lane. What is not public in Optuna 5 is used in this file
alone, and pinned by tests: `study._storage`, `_study_id`, `_thread_local`, `_stop_flag`, `_pop_waiting_trial_id` and a
trial's `_relative_params`.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState, create_trial

from .history import History, Snapshot
from .records import EMPTY, Outcome, Proposal, SearchSpace

_claiming = threading.Lock()  # one claim at a time in a process: SQLite would give one WAITING trial to two

_NOTHING_SPENT = {"calls": 0, "reasks": 0, "repairs": [], "usage": None, "latency": 0.0}

LLM_ATTRIBUTE = "llm"
FAILURE_ATTRIBUTE = "failure"


class StudyDoor:
    """One study, as this process reads and writes it; safe to use from several threads."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._history = History()
        self._reserved: dict[int, Proposal] = {}
        self._assigned: dict[int, Proposal] = {}
        self._asking = 0
        self._lock = threading.Lock()  # guards the four above; never held across a storage call
        self._reading = threading.Lock()  # one reading at a time, so that readings arrive in order

    def __repr__(self) -> str:
        now = self.snapshot()
        return (
            f"StudyDoor({self.study.study_name!r}, finished={len(now.finished)}, running={len(now.running)}, "
            f"waiting={now.waiting}, reserved={len(now.reserved)})"
        )

    # -- reading

    def refresh(self) -> Snapshot:
        """Read the study from storage."""
        with self._reading:
            trials = self.study._storage.get_all_trials(self.study._study_id, deepcopy=False)
            with self._lock:
                self._history.extend(trials)
                return self._snapshot()

    def snapshot(self) -> Snapshot:
        """The last reading with the reservations of this moment; touches no storage."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        history = self._history
        return Snapshot(
            finished=history.finished,
            running=history.running,
            waiting=history.waiting,
            space=history.space,
            reserved=tuple(self._reserved.values()),
            assigned=dict(self._assigned) if self._assigned else EMPTY,
            asking=self._asking,
        )

    # -- reserving

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a proposal that is being computed, so that others which are know of it."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1

    def reserve(self, proposal: Proposal) -> None:
        """Show an accepted proposal to every context until it is created or released."""
        with self._lock:
            self._reserved[id(proposal)] = proposal

    def release(self, proposal: Proposal) -> None:
        """Forget a reservation; it may be gone already."""
        with self._lock:
            self._reserved.pop(id(proposal), None)

    def assign(self, proposal: Proposal, number: int) -> None:
        """Tie a proposal to the running trial that suggests its values one by one."""
        with self._lock:
            self._reserved.pop(id(proposal), None)
            self._assigned[number] = proposal

    def assigned(self, number: int) -> Proposal | None:
        """The proposal that a running trial was given, if its values are written as they are suggested."""
        with self._lock:
            return self._assigned.get(number)

    def holds(self, proposal: Proposal) -> bool:
        """Whether a proposal is still reserved, or its trial still runs."""
        with self._lock:
            return id(proposal) in self._reserved or any(proposal is other for other in self._assigned.values())

    def unassign(self, number: int) -> None:
        """Forget what `assign` tied; it may be gone already."""
        with self._lock:
            self._assigned.pop(number, None)

    # -- writing

    def create(self, proposal: Proposal, *, written: bool, run: str) -> Trial:
        """Make a proposal a RUNNING trial in one storage write.

        `written`: all parameters are part of that write; otherwise the trial writes each as it is suggested.
        """
        attribute = self._attribute(proposal, run)
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(proposal.params) if written else {},
            distributions=dict(proposal.distributions) if written else {},
            user_attrs={LLM_ATTRIBUTE: attribute} if attribute else {},
        )
        self.study._thread_local.cached_all_trials = None
        trial_id = self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
        trial = Trial(self.study, trial_id)
        if not written:
            self.hand_over(trial, proposal)
        self.refresh()
        self.release(proposal)
        return trial

    def hand_over(self, trial: Trial, proposal: Proposal) -> None:
        """Let a trial that exists suggest a proposal's values, without asking the sampler again."""
        trial.relative_search_space = dict(proposal.distributions)
        trial._relative_params = dict(proposal.params)
        self.assign(proposal, trial.number)

    def complete(self, trial: Trial, search_space: SearchSpace) -> None:
        """Suggest every name of `search_space` at once, as `study.ask(fixed_distributions=...)` does."""
        for name, distribution in search_space.items():
            trial._suggest(name, distribution)

    def pop_waiting(self) -> Trial | None:
        """Claim the oldest enqueued trial, now RUNNING; None if there is none left."""
        self.study._thread_local.cached_all_trials = None
        with _claiming:
            trial_id = self.study._pop_waiting_trial_id()
        trial = None if trial_id is None else Trial(self.study, trial_id)
        self.refresh()
        return trial

    def fixed_params(self, trial: Trial) -> Mapping[str, Any]:
        """The values that whoever enqueued a trial fixed."""
        fixed: Mapping[str, Any] = trial._fixed_params
        return fixed

    def record(self, trial_id: int, proposal: Proposal, run: str | None) -> None:
        """Write the provenance of a proposal on a trial that exists already."""
        attribute = self._attribute(proposal, run)
        if attribute:
            self.study._storage.set_trial_user_attr(trial_id, LLM_ATTRIBUTE, attribute)

    def ask(self, search_space: SearchSpace | None) -> Trial:
        """`study.ask`, for samplers that need a trial to propose; if they raise, the trial is failed."""
        with _claiming:
            trial = self.study.ask()
        try:
            self.complete(trial, search_space or {})
        except BaseException:
            self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise
        return trial

    def tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Store an outcome, its failure first, and return the finished trial."""
        if outcome.failure is not None:
            self.study._storage.set_trial_user_attr(trial._trial_id, FAILURE_ATTRIBUTE, asdict(outcome.failure))
        complete = outcome.state is TrialState.COMPLETE
        told = self.study.tell(trial, outcome.value if complete else None, state=outcome.state, skip_if_finished=True)
        self.unassign(trial.number)
        self.refresh()
        return told

    def retry(self, trial: FrozenTrial, retries: int) -> bool:
        """Enqueue a failed trial's configuration anew unless it was tried `retries` times; says whether it did.

        The system attributes are those of Optuna's own `RetryFailedTrialCallback`.
        """
        history = [*trial.system_attrs.get("retry_history", ()), trial.number]
        if len(history) > retries:
            return False
        attributes = {"failed_trial": history[0], **trial.system_attrs, "retry_history": history}
        llm = trial.user_attrs.get(LLM_ATTRIBUTE)
        repeated = {LLM_ATTRIBUTE: {**llm, **_NOTHING_SPENT}} if llm else {}
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

    def _attribute(self, proposal: Proposal, run: str | None) -> Mapping[str, Any]:
        if not proposal.provenance:
            return {}
        staleness = len(self.snapshot().finished) - proposal.seen
        return {**proposal.provenance, "staleness": max(0, staleness), "run": run}


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
