"""From a candidate to a trial that was told: create it, run its objective, store what came of it."""

import heapq
import traceback
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy

import anyio
from anyio import CancelScope
from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from ..errors import THIS_RUN, OptunaLLMError, SetUpError, WorkerError
from ..fleet.dead_trials import add_late
from ..foreign_text import said, summary
from ..logs import get_logger
from ..outcome import Outcome, cancelled, failed, interrupted, timed_out
from ..protocols import Workers, capabilities_of
from ..records import Call
from ..study.attributes import failure_type, is_inconclusive, is_reaped, is_unevaluated
from ..study.optuna_internals import stop_requested
from ..study.patience import StorageGone
from .candidates import Candidate
from .context import RunContext, RunOptions
from .lines import RunLog
from .report import Tally
from .schedule import Event, Finished, Missed, StopRequested

logger = get_logger("optuna_llm.engine")


class TrialRunner:
    """Runs the trials of one run, each to its end. `send` takes what the schedule needs to know of them."""

    def __init__(
        self,
        options: RunOptions,
        context: RunContext,
        workers: Workers,
        tally: Tally,
        log: RunLog,
        send: Callable[[Event], None],
    ) -> None:
        self._options = options
        self._context = context
        self._workers = workers
        self._tally = tally
        self._log = log
        self._send = send
        self._scopes: set[CancelScope] = set()
        # Numbers of workers, as a heap. The schedule launches no more trials than there are workers, and hears that one
        # is over after its number is free again: so there is a free one for each.
        self._free = list(range(options.plan.n_workers))
        self._interrupted = False

    def interrupt(self) -> None:
        """End the objectives that run now, and those of trials that are just being created."""
        self._interrupted = True
        for scope in self._scopes:
            scope.cancel()

    async def run(self, candidate: Candidate) -> None:
        """Create, run and tell one trial. The schedule always hears of its end: else the run would wait for ever."""
        event: Event | None = None
        worker = heapq.heappop(self._free)
        try:
            trial = await self._create(candidate, worker)
            event = Missed() if trial is None else await self._run(trial)
        except SetUpError as error:  # a hiccup of the storage; several in a row end the run, as failed proposals do
            logger.warning("%s; going on with another one", said(str(error)))
            event = Finished(error, failed=True)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            event = Finished(error)
        finally:
            heapq.heappush(self._free, worker)
            asked = [StopRequested("stop")] * stop_requested(self._context.door.study)
            event = event or Finished()  # cancelled
            # What was raised is why the run ends, although who raised it may have asked Optuna to stop as well.
            raised = isinstance(event, Finished) and event.error is not None
            for one in (event, *asked) if raised else (*asked, event):
                self._send(one)

    async def _create(self, candidate: Candidate, worker: int) -> Trial | None:
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:  # a run that is cancelled creates no more trials
            candidate.discard()
            raise
        began = anyio.current_time()
        trial = await candidate.create(worker)
        self._tally.add(storage_seconds=anyio.current_time() - began)
        if trial is None:
            self._tally.spent(candidate.proposal.provenance)
        return trial

    async def _run(self, trial: Trial) -> Finished:
        names = self._context.watch(trial)
        try:
            outcome = await self._evaluate(trial)
        except BaseException:  # whatever ends the evaluation, the trial is told
            await self._store(trial, cancelled())
            raise
        if names is not None and names.refused is not None:  # although the objective may have caught it
            outcome = failed(names.refused)
        error = outcome.error
        if isinstance(error, OptunaLLMError) and error.study == THIS_RUN:
            error.study = self._context.door.key
        told = await self._store(trial, outcome)
        if names is not None:
            self._log.asked(names.asked, complete=told.state is TrialState.COMPLETE)
        if self._options.callbacks:
            told = deepcopy(told)  # theirs to change
        for callback in self._options.callbacks:
            await self._context.lanes.helper.run(callback, self._context.door.study, told)
        ended = is_inconclusive(told) or is_unevaluated(told)
        return Finished(
            self._fatal(error),
            failed=told.state is TrialState.FAIL,
            foreign=not self._is_ours(error),
            kind=None if ended else failure_type(told),
        )

    async def _evaluate(self, trial: Trial) -> Outcome:
        """Run the objective within `trial_timeout`; the clock starts with the objective."""
        limit = self._options.trial_timeout
        began = anyio.current_time()
        scope = CancelScope()
        self._scopes.add(scope)
        if self._interrupted:
            scope.cancel()

        def started() -> None:
            if limit is not None:
                scope.deadline = anyio.current_time() + limit

        if not capabilities_of(self._workers).says_start:
            started()
        try:
            with scope:
                return await self._run_on_workers(trial, started)
        finally:
            self._scopes.discard(scope)
            now = anyio.current_time()
            self._tally.evaluated(began, now)
        return timed_out(limit) if now >= scope.deadline or not self._interrupted else interrupted()

    async def _run_on_workers(self, trial: Trial, started: Callable[[], None]) -> Outcome:
        objective, lanes = self._options.objective, self._context.lanes
        call = Call(
            objective=objective,
            trial=trial,
            lane=lanes.storage,
            patience=lanes.patience,
            started=started,
            interrupted=self._was_interrupted,
        )
        try:
            return await self._workers.run(call)
        except Exception as error:  # an objective's own error is an outcome: this one is of the place where it ran
            broken = WorkerError(f"{self._workers!r} failed while it ran trial {trial.number}: {summary(error)}")
            broken.__cause__, broken.study = error, THIS_RUN
            return failed(broken)

    def _was_interrupted(self) -> bool:
        return self._interrupted

    # -- storing a result: no result is lost silently

    async def _store(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Tell on the storage thread, again while that raises; shielded from cancellation.

        Raises `OptunaLLMError`, which holds the result, if the storage does not take it. What a sampler's
        `after_trial` raises is raised as it is: the result is stored all the same.
        """
        lanes, began = self._context.lanes, anyio.current_time()
        doing = f"telling trial {trial.number}"
        try:
            told = await lanes.store(
                doing, self._tell, trial, outcome, may_repeat=lambda error: not _is_of_sampler(error), shield=True
            )
        except StorageGone as gone:
            lost = _lost(trial, outcome, gone.why)
            logger.error("%s", lost)  # a run raises one error, and several results may be lost
            raise lost from gone.__cause__
        self._tally.told(told, anyio.current_time() - began)
        return told

    def _fatal(self, error: BaseException | None) -> BaseException | None:
        """The error if it ends the run; `catch` never covers what is about this study, and not of the objective."""
        return None if isinstance(error, self._options.catch) and not self._is_ours(error) else error

    def _is_ours(self, error: BaseException | None) -> bool:
        """Whether an error is of this library and about this study; an objective may work on another one."""
        return isinstance(error, OptunaLLMError) and error.study == self._context.door.key

    # -- what follows runs on the lane

    def _tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Write all that follows from the end of a trial; an error counts for nothing if the result is stored."""
        try:
            told = self._write_end(trial, outcome)
        except Exception as error:
            stored = None if _is_of_sampler(error) else self._stored_end(trial, outcome)
            if stored is None:
                raise
            told = stored
        self._log.trial(told, self._context.door.best(), outcome.note)
        return told

    def _stored_end(self, trial: Trial, outcome: Outcome) -> FrozenTrial | None:
        """The trial if its end is stored, as far as we know; one that is still to be retried is not at its end."""
        with suppress(Exception):  # a storage that cannot be read has not taken it
            stored = self._context.door.stored(trial)
            to_retry = stored.state is TrialState.FAIL and self._retries(outcome)
            return stored if stored.state.is_finished() and not is_reaped(stored) and not to_retry else None
        return None

    def _retries(self, outcome: Outcome) -> bool:
        """Whether a trial that fails so is enqueued anew, as long as it has retries left."""
        return self._options.retries > 0 and self._fatal(outcome.error) is None

    def _write_end(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        door, run, again = self._context.door, self._context.run, self._retries(outcome)
        told = door.tell(trial, outcome, retry_by=run if again else None)
        if told.state is TrialState.FAIL:
            if outcome.state is not TrialState.FAIL and is_reaped(told):
                told = add_late(door, told, outcome, run, self._context.places)
            elif again:
                door.retry(told, self._options.retries)
        if self._options.show_progress_bar:
            self._tally.best = door.best()
        return told


def _is_of_sampler(error: BaseException) -> bool:
    """Whether a sampler raised this when it was told of the result.

    Optuna calls `after_trial` in the middle of `study.tell`, and stores the result while its error passes. Only the
    traceback says who raised: the storage may raise the same types, before the result is stored and after.
    """
    return any(frame.f_code.co_name == "after_trial" for frame, _ in traceback.walk_tb(error.__traceback__))


def _lost(trial: Trial, outcome: Outcome, why: str) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} {why}; the result: "
        f"{result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
