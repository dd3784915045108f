"""From a candidate to a trial that was told: create it, run its objective, store what came of it."""

import logging
import math
import traceback
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio import CancelScope
from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from ..errors import OptunaLLMError, SetUpError, WorkerError
from ..fleet.dead_trials import add_late
from ..outcome import Outcome, cancelled, failed, interrupted, timed_out
from ..protocols import Workers
from ..records import Call
from ..study.attributes import is_reaped
from ..study.lanes import StorageTimeout
from ..study.optuna_internals import stop_requested
from .candidates import Candidate
from .context import RunContext, RunOptions
from .report import Tally
from .schedule import Event, Finished, Missed, StopRequested

logger = logging.getLogger("optuna_llm.engine")


class TrialRunner:
    """Runs the trials of one run, each to its end. `send` takes what the schedule needs to know of them."""

    def __init__(
        self, options: RunOptions, context: RunContext, workers: Workers, tally: Tally, send: Callable[[Event], None]
    ) -> None:
        self._options = options
        self._context = context
        self._workers = workers
        self._tally = tally
        self._send = send
        self._scopes: set[CancelScope] = set()
        self._interrupted = False

    def interrupt(self) -> None:
        """End the objectives that run now, and those of trials that are just being created."""
        self._interrupted = True
        for scope in self._scopes:
            scope.cancel()

    async def run(self, candidate: Candidate) -> None:
        """Create, run and tell one trial. The schedule always hears of its end: else the run would wait for ever."""
        event: Event = Finished()
        try:
            trial = await self._create(candidate)
            event = Missed() if trial is None else await self._run(trial)
        except SetUpError as error:  # a hiccup of the storage; several in a row end the run, as failed proposals do
            logger.warning("%s; going on with another one", error)
            event = Finished(error, failed=True)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            event = Finished(error)
        finally:
            if stop_requested(self._context.door.study):
                self._send(StopRequested("stop"))
            self._send(event)

    async def _create(self, candidate: Candidate) -> Trial | None:
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:  # a run that is cancelled creates no more trials
            candidate.discard()
            raise
        began = anyio.current_time()
        with CancelScope(shield=True):  # else a trial could be stored and nobody know of it
            trial = await candidate.create()
        self._tally.add(storage_seconds=anyio.current_time() - began)
        if trial is None:
            self._tally.spent(candidate.proposal.provenance)
        return trial

    async def _run(self, trial: Trial) -> Finished:
        try:
            outcome = await self._evaluate(trial)
        except BaseException:  # whatever ends the evaluation, the trial is told
            await self._store(trial, cancelled())
            raise
        told = await self._store(trial, outcome)
        log_trial(told, outcome)
        for callback in self._options.callbacks:
            await self._context.lanes.helper.run(callback, self._context.door.study, told)
        return Finished(self._fatal(outcome.error), failed=told.state is TrialState.FAIL)

    async def _evaluate(self, trial: Trial) -> Outcome:
        """Run the objective within `trial_timeout`; the clock starts with the objective."""
        limit = self._options.trial_timeout
        began = anyio.current_time()
        scope = CancelScope(deadline=math.inf if limit is None else began + limit)
        self._scopes.add(scope)
        if self._interrupted:
            scope.cancel()
        try:
            with scope:
                return await self._run_on_workers(trial)
        finally:
            self._scopes.discard(scope)
            now = anyio.current_time()
            self._tally.evaluated(began, now)
        return timed_out(limit) if now >= scope.deadline or not self._interrupted else interrupted()

    async def _run_on_workers(self, trial: Trial) -> Outcome:
        lane = self._context.lanes.storage
        try:
            return await self._workers.run(Call(objective=self._options.objective, trial=trial, lane=lane))
        except Exception as error:  # an objective's own error is an outcome: this one is of the place where it ran
            message = f"{self._workers!r} failed while it ran trial {trial.number}: {type(error).__name__}: {error}"
            broken = WorkerError(message)
            broken.__cause__ = error
            return failed(broken)

    # -- storing a result: no result is lost silently

    async def _store(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Tell on the storage thread, again while that raises; shielded from cancellation.

        Raises `OptunaLLMError`, which holds the result, if the storage did not take it in time. What a sampler's
        `after_trial` raises is raised as it is: the result is stored all the same.
        """
        lanes, began = self._context.lanes, anyio.current_time()
        doing = f"telling trial {trial.number}"
        try:
            told = await lanes.store(
                doing, self._tell, trial, outcome, may_repeat=lambda error: not _is_of_sampler(error), shield=True
            )
        except StorageTimeout as timeout:
            lost = _lost(trial, outcome, lanes.policy.seconds, timeout.why)
            logger.error("%s", lost)  # a run raises one error, and several results may be lost
            raise lost from timeout.__cause__
        self._tally.told(told, anyio.current_time() - began)
        return told

    def _fatal(self, error: BaseException | None) -> BaseException | None:
        """The error if it ends the run; `catch` never covers this library's own errors."""
        caught = isinstance(error, self._options.catch) and not isinstance(error, OptunaLLMError)
        return None if caught else error

    # -- what follows runs on the lane

    def _tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Write all that follows from the end of a trial; an error counts for nothing if the result is stored."""
        try:
            return self._write_end(trial, outcome)
        except Exception as error:
            if not _is_of_sampler(error):
                with suppress(Exception):  # a storage that cannot be read has not taken it, as far as we know
                    stored = self._context.door.stored(trial)
                    if stored.state.is_finished() and not is_reaped(stored):
                        return stored
            raise

    def _write_end(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        door = self._context.door
        told = door.tell(trial, outcome)
        if told.state is TrialState.FAIL:
            if outcome.state is not TrialState.FAIL and is_reaped(told):
                told = add_late(door, told, outcome, self._context.run, self._context.places)
            elif self._options.retries and self._fatal(outcome.error) is None:
                door.retry(told, self._options.retries)
        if self._options.show_progress_bar:
            self._tally.best = door.best_value()
        return told


def log_trial(trial: FrozenTrial, outcome: Outcome) -> None:
    """Write one INFO line about a trial that was told."""
    if trial.state is TrialState.COMPLETE:
        logger.info("Trial %d complete: value %r, parameters %r", trial.number, trial.value, trial.params)
    elif trial.state is TrialState.PRUNED:
        logger.info("Trial %d pruned at step %s: parameters %r", trial.number, trial.last_step, trial.params)
    else:
        why = "unknown reason" if outcome.failure is None else f"{outcome.failure.type}: {outcome.failure.message}"
        logger.info("Trial %d failed (%s): parameters %r", trial.number, why, trial.params)


def _is_of_sampler(error: BaseException) -> bool:
    """Whether a sampler raised this when it was told of the result.

    Optuna calls `after_trial` in the middle of `study.tell`, and stores the result while its error passes. Only the
    traceback says who raised: the storage may raise the same types, before the result is stored and after.
    """
    return any(frame.f_code.co_name == "after_trial" for frame, _ in traceback.walk_tb(error.__traceback__))


def _lost(trial: Trial, outcome: Outcome, seconds: float, why: str) -> OptunaLLMError:
    """The error that holds a result which no storage took."""
    result = f"state {outcome.state.name}, value {outcome.value!r}, parameters {trial.params!r}"
    if outcome.failure is not None:
        result += f", failure {outcome.failure.type}: {outcome.failure.message}"
    return OptunaLLMError(
        f"the storage did not take the result of trial {trial.number} within {seconds:g} s ({why}); the result: "
        f"{result}. Tell it by hand once the storage is back: study.tell({trial.number}, ...)"
    )
