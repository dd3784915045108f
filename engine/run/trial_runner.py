"""From a candidate to a trial that was told: create it, run its objective, store what came of it."""

import logging
import math

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
from .candidates import Candidate
from .context import RunContext
from .options import RunOptions
from .report import Tally
from .schedule import Event, Finished, Missed
from .tell import tell_surely

logger = logging.getLogger("optuna_llm.engine")


class TrialRunner:
    """Runs the trials of one run, each to its end; `best` is the study's best value if a progress bar shows it."""

    def __init__(self, options: RunOptions, context: RunContext, workers: Workers, tally: Tally) -> None:
        self.best: float | None = None
        self._options = options
        self._context = context
        self._workers = workers
        self._tally = tally
        self._scopes: set[CancelScope] = set()
        self._interrupted = False

    def interrupt(self) -> None:
        """End the objectives that run now, and those of trials that are just being created."""
        self._interrupted = True
        for scope in self._scopes:
            scope.cancel()

    async def run(self, candidate: Candidate) -> Event:
        """Create, run and tell one trial; returns what the schedule needs to know of it."""
        try:
            trial = await self._create(candidate)
            return Missed() if trial is None else await self._run(trial)
        except SetUpError as error:  # a hiccup of the storage; several in a row end the run, as failed proposals do
            logger.warning("%s; going on with another one", error)
            return Finished(error, failed=True)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return Finished(error)

    async def _create(self, candidate: Candidate) -> Trial | None:
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:  # a run that is cancelled creates no more trials
            candidate.discard()
            raise
        began = anyio.current_time()
        with CancelScope(shield=True):  # else a trial could be stored and nobody know of it
            trial = await candidate.create()
        self._tally.stored(anyio.current_time() - began)
        if trial is None:
            self._tally.spent(candidate.provenance)
        return trial

    async def _run(self, trial: Trial) -> Finished:
        outcome = cancelled()  # unless the evaluation returns: whatever ends it, the trial is told
        try:
            outcome = await self._evaluate(trial)
        finally:
            told = await self._store(trial, outcome)
        log_trial(told, outcome)
        lanes, study = self._context.lanes, self._context.door.study
        for callback in self._options.callbacks:
            await lanes.helper.run(lanes.stoppable, callback, study, told)
        return Finished(self._fatal(outcome.error), failed=told.state is TrialState.FAIL)

    async def _evaluate(self, trial: Trial) -> Outcome:
        """Run the objective within `trial_timeout`; the clock starts with the objective."""
        limit = self._options.trial_timeout
        began = anyio.current_time()
        self._tally.launched(began)
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
            self._tally.ended(now, now - began)
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

    async def _store(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        began = anyio.current_time()
        told = await tell_surely(self._context.lanes, self._tell, trial, outcome)
        self._tally.stored(anyio.current_time() - began)
        self._tally.told(told)
        return told

    def _tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Write all that follows from the end of a trial; one job of the storage lane."""
        door = self._context.door
        told = door.tell(trial, outcome)
        if is_reaped(told) and outcome.state is not TrialState.FAIL:
            told = add_late(door, told, outcome, self._context.run, self._context.places)
        elif told.state is TrialState.FAIL and self._options.retries and self._fatal(outcome.error) is None:
            door.retry(told, self._options.retries)
        if self._options.show_progress_bar:
            self.best = door.best_value()
        return told

    def _fatal(self, error: BaseException | None) -> BaseException | None:
        """The error if it ends the run; `catch` never covers this library's own errors."""
        caught = isinstance(error, self._options.catch) and not isinstance(error, OptunaLLMError)
        return None if caught else error


def log_trial(trial: FrozenTrial, outcome: Outcome) -> None:
    """Write one INFO line about a trial that was told."""
    if trial.state is TrialState.COMPLETE:
        logger.info("Trial %d complete: value %r, parameters %r", trial.number, trial.value, trial.params)
    elif trial.state is TrialState.PRUNED:
        logger.info("Trial %d pruned at step %s: parameters %r", trial.number, trial.last_step, trial.params)
    else:
        why = "unknown reason" if outcome.failure is None else f"{outcome.failure.type}: {outcome.failure.message}"
        logger.info("Trial %d failed (%s): parameters %r", trial.number, why, trial.params)
