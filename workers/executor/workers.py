"""Runs plain functions on an executor that the user has: a pool of the standard library, loky, Dask, a Slurm cluster.

No connection is needed: what a trial may know goes with the call, and what it did comes back with the result. Where
both sides see one folder, what happens meanwhile goes through that.
"""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from typing import Final

from anyio import CancelScope
from optuna import Study

from ...engine.arguments import number
from ...engine.errors import THIS_RUN, OptunaLLMError, UsageError, about
from ...engine.logs import get_logger
from ...engine.outcome import Outcome, failed
from ...engine.protocols import WorkerCapabilities
from ...engine.records import Call
from ...engine.study.lanes import stoppable
from ...engine.threads import done_event, on_this_loop, result_of
from ..pool import Pool
from .assignment import TrialRecord, assignment_of
from .host import run_assignment
from .listener import Listener
from .mailbox import NO_LETTERS, Letters, new_letters

logger = get_logger("optuna_llm.engine")

# Errors of a call that did not reach its objective: the next one would not either.
NOT_THERE: Final = (BrokenExecutor, ImportError, OptunaLLMError, pickle.PickleError)


class ExecutorWorkers:
    """Runs plain objectives on any `concurrent.futures.Executor`, which stays the user's: nothing here shuts it down.

    `slots` is how many of its calls run side by side; without it, the executor's own number of workers. An executor
    that does not say has to be told: raises `UsageError`.

    `folder` is one that objectives see as well, for reports and the pruner's answers: on a cluster, one of a shared
    file system; by default this machine's for temporary files. Objectives that do not see it are told that
    `should_prune()` is False, and what they report arrives with the result. The private folder of each trial in it is
    removed when that has ended.

    An objective can suggest what was proposed, so the search space must be declared, or known from the study's trials.
    A call is never withdrawn: after a `trial_timeout` its trial fails, and its slot stays taken until it returns, which
    Python code does soon in processes that this process' executor started. A pool that is broken fails the trials in
    flight and ends the run with `WorkerError`.
    """

    def __init__(self, executor: Executor, slots: int | None = None, *, folder: str | os.PathLike[str] | None = None):
        if not callable(getattr(executor, "submit", None)):
            raise UsageError(f"executor must be a concurrent.futures.Executor, and has no submit(): {executor!r}")
        self.slots: int = number("slots", _workers_of(executor) if slots is None else slots, low=1, whole=True)
        self._executor = executor
        self._pool = Pool(self.slots)
        self._folder = None if folder is None else os.fspath(folder)
        self._is_seen = True  # as far as objectives have said
        self._warned: set[int] = set()

    def __repr__(self) -> str:
        return f"ExecutorWorkers({type(self._executor).__name__}, slots={self.slots})"

    @property
    def capabilities(self) -> WorkerCapabilities:
        """What the executor can do: it streams as long as no objective was found that does not see the folder."""
        return WorkerCapabilities(streams=self._is_seen, awaits=False, says_start=True)

    async def run(self, call: Call) -> Outcome:
        """Submit the objective once a slot is free, and make its calls to the trial until it has returned."""
        if self._pool.pid != os.getpid():
            raise UsageError("an executor belongs to the process that made it: make another one in the fork")
        call.patience.lend_to(call.trial)
        pool = self._pool
        slot = await pool.slots.take()
        thread, period = pool.thread(), pool.period
        try:
            with CancelScope(shield=True):  # else a call could begin and nobody know of it
                listener = await thread.run(self._submit, call, on_this_loop())
        except BaseException as error:
            pool.give_back(slot, thread, period)
            if isinstance(error, UsageError):  # of the objective, which cannot be pickled, or of the folder
                return failed(error)
            raise
        if not (self._folder is not None and self._is_seen):
            call.started()  # nobody may hear when its objective begins
        thread.submit(listener.listen)
        try:
            await done_event(listener.future).wait()
        except BaseException:  # the call is not cancelled: Dask frees a place that is not, executorlib's queue dies
            listener.stop()
            thread.submit(listener.give_up, by_force=call.interrupted())
            listener.future.add_done_callback(lambda _: pool.give_back(slot, thread, period))
            raise
        try:
            with CancelScope(shield=True):  # it is a result: what is cancelled now comes too late
                outcome = await thread.run(self._outcome, call.trial.study, listener)
        finally:
            thread.submit(listener.remove)  # nobody waits for it, but the next trial of this thread
            pool.give_back(slot, thread, period)
        return outcome

    def close(self) -> None:
        """End the idle threads that submit calls; the executor is left as it is."""
        self._pool.close()

    def _submit(self, call: Call, on_loop: Callable[[Callable[[], object]], None]) -> Listener:
        objective = self._pool.pickles.of(call)
        letters = self._letters()
        try:
            with stoppable(call.trial.study):
                assignment = pickle.dumps(assignment_of(call.trial, letters))
            future = self._executor.submit(run_assignment, objective, assignment)
        except BaseException:
            letters.remove()
            raise
        return Listener(call.trial, letters, future, lambda: on_loop(call.started))

    def _letters(self) -> Letters:
        try:
            return new_letters(self._folder)
        except OSError as error:
            if self._folder is None:
                return NO_LETTERS
            with about(THIS_RUN):
                raise UsageError(f"folder must be one in which this process may make files: {error}") from error

    def _outcome(self, study: Study, listener: Listener) -> Outcome:
        listener.end()  # of a call that was lost, nothing else comes
        try:
            record: TrialRecord = pickle.loads(result_of(listener.future))
        except Exception as error:
            return _lost(error)
        self._is_seen = self._is_seen and not record.unseen
        if record.refused:
            refused = UsageError(record.refused)
            refused.study = THIS_RUN
            return failed(refused)
        self._warn_of_pruning(study, record)
        return listener.outcome(record)

    def _warn_of_pruning(self, study: Study, record: TrialRecord) -> None:
        if record.unanswered and id(study) not in self._warned:
            self._warned.add(id(study))
            logger.warning(
                "The objective asks should_prune(), and gets no answer from %r: where it runs, the folder %s is not "
                "seen, or not at once. Nothing is pruned; give ExecutorWorkers(..., folder=) one that both sides share",
                self,
                self._folder or "for temporary files",
            )


def _lost(error: Exception) -> Outcome:
    """The failed trial of a call that an executor lost; raises what ends more than one trial."""
    if isinstance(error, NOT_THERE):
        raise error
    return replace(failed(error), error=None)  # as a crash of a process, it costs its trial, and not the run


def _workers_of(executor: Executor) -> int:
    """How many calls an executor runs side by side, as far as it says."""
    for name in ("_max_workers", "max_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count >= 1:
            return count
    raise UsageError(
        f"{type(executor).__name__} does not say how many calls it runs side by side: give ExecutorWorkers(..., slots=)"
    )
