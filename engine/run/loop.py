"""The thin shell around the schedule: it awaits what the schedule decided, and reports back what happened."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TypeAlias

import anyio
from anyio import CancelScope
from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from ..errors import OptunaLLMError, SetUpError, unwrapped
from ..fleet.dead_trials import add_late
from ..outcome import Outcome, cancelled, failed, interrupted, timed_out
from ..protocols import Workers
from ..records import EMPTY, Call, Objective, Proposal
from ..study.attributes import is_reaped
from ..study.optuna_internals import stop_requested
from .candidates import Asker, Candidate, Enqueued
from .progress import Progress, ProgressBar
from .report import RunReport, Tally, standing
from .schedule import (
    Action,
    Discard,
    Event,
    Finished,
    Launch,
    Missed,
    Pause,
    Plan,
    Proposed,
    ProposingFailed,
    Rechecked,
    Resumed,
    Schedule,
    Simple,
    StopRequested,
)
from .signals import Signals, leave
from .tell import tell_surely

logger = logging.getLogger("optuna_llm.engine")

REFRESH = 0.5  # seconds between two updates of the progress bar
RECHECK = 1.0  # seconds between two looks whether others left a place in the study

Callback: TypeAlias = Callable[[Study, FrozenTrial], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run was asked to do, checked. Times are in seconds."""

    objective: Objective
    plan: Plan
    timeout: float | None
    trial_timeout: float | None
    catch: tuple[type[BaseException], ...]
    callbacks: Sequence[Callback]
    retries: int = 0
    grace: float = 30.0
    handle_signals: bool = False
    show_progress_bar: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A signal has come."""

    number: int


class Run:
    """One run of one study."""

    def __init__(self, options: Options, *, asker: Asker, workers: Workers) -> None:
        self.options = options
        self.asker = asker
        self.workers = workers
        self.door = asker.door
        self.lanes = asker.lanes
        self.schedule = Schedule(options.plan)
        self.tally = Tally(started=anyio.current_time(), n_workers=options.plan.n_workers)
        self._asks: set[CancelScope] = set()
        self._evaluations: set[CancelScope] = set()
        self._signals = Signals(self._heard)
        self._interrupted = False
        self._grace_is_over = False
        self._best: float | None = None
        self._send, self._receive = anyio.create_memory_object_stream[Event | Interrupt](float("inf"))

    async def __call__(self) -> RunReport:
        """Run to the end; raises the error that ended it, after every running trial was told."""
        with self._send, self._receive:
            try:
                await self._begin()
                await self._conduct()
            finally:
                self._give_back()
                await self._end()
        report = self._report()
        logger.info("Run ended: %s", report)
        if self.schedule.error is not None:
            raise self.schedule.error
        if self._signals.heard:
            raise leave(self._signals.heard[0])
        return report

    async def _begin(self) -> None:
        """Say that we are here, end what the dead left behind, and say where the study stands."""
        keeper = self.asker.keeper
        self.door.sharing.active_runs.add(self.asker.run)
        if keeper is not None:
            await self.lanes.store("beginning the run", keeper.start)
        snapshot = await self.lanes.refresh()
        if snapshot.finished or snapshot.running or snapshot.waiting:
            now = standing(snapshot, self.asker.total)
            logger.info("Study %r goes on: %s", self.door.study.study_name, now)

    async def _end(self) -> None:
        """Keep what was spent without a trial, and take leave; unless the storage has stopped answering."""
        keeper = self.asker.keeper
        self.door.sharing.active_runs.discard(self.asker.run)
        if keeper is not None:
            keeper.retire()
        with anyio.move_on_after(self.lanes.policy.seconds, shield=True):
            if self.door.spending.unsaved() is not None:
                await self.lanes.storage.run(self.door.save_spending)
            if keeper is not None:
                await self.lanes.storage.run(keeper.stop)

    async def _conduct(self) -> None:
        with unwrapped(), ExitStack() as stack:
            async with anyio.create_task_group() as group:
                if self.options.handle_signals:
                    stack.enter_context(self._signals)
                if self.options.timeout is not None:
                    group.start_soon(self._deadline, self.options.timeout)
                if self.options.show_progress_bar:
                    group.start_soon(self._show_progress)
                self._act(group, self.schedule.start())
                while not self.schedule.done:
                    event = await self._receive.receive()
                    if isinstance(event, Interrupt):
                        self._interrupt(group, event.number)
                    else:
                        self._act(group, self.schedule.handle(event))
                group.cancel_scope.cancel()  # only the deadline and the progress bar are left

    def _give_back(self) -> None:
        """Nothing stays reserved of what a cancelled run had ready, or had not even looked at."""
        for candidate in self.schedule.abandon():
            self.asker.discard(candidate)
        with suppress(anyio.WouldBlock):
            while True:
                event = self._receive.receive_nowait()
                if isinstance(event, Proposed):
                    self.asker.discard(event.candidate)

    def _act(self, group: anyio.abc.TaskGroup, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Simple.PROPOSE:
                    group.start_soon(self._propose)
                case Simple.RECHECK:
                    group.start_soon(self._recheck)
                case Simple.CANCEL_PROPOSALS:
                    for scope in self._asks:
                        scope.cancel()
                case Launch(candidate):
                    group.start_soon(self._launch, candidate)
                case Pause(seconds, error):
                    group.start_soon(self._pause, seconds, error)
                case Discard(candidate):
                    self.asker.discard(candidate)
                    self._spent(candidate)

    def _spent(self, candidate: Candidate) -> None:
        """Count what a candidate took that comes to no trial of ours."""
        proposal = candidate.proposal if isinstance(candidate, Enqueued) else candidate
        self.tally.spent(getattr(proposal, "provenance", EMPTY))

    async def _deadline(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._send.send_nowait(StopRequested("timeout"))

    def _heard(self, number: int) -> None:
        """Called by the loop, in no task of this run, and perhaps when the run is over."""
        with suppress(anyio.ClosedResourceError):
            self._send.send_nowait(Interrupt(number))

    def _interrupt(self, group: anyio.abc.TaskGroup, number: int) -> None:
        """The first signal asks no more and lets running trials finish, for a while; the second ends them."""
        if not self._interrupted:
            self._interrupted = True
            logger.warning(
                "Signal %d: no more trials; those running have %.0f s to finish, or until the next signal",
                number,
                self.options.grace,
            )
            self._send.send_nowait(StopRequested("signal"))
            group.start_soon(self._end_after_grace)
        else:
            self._end_evaluations()

    async def _end_after_grace(self) -> None:
        await anyio.sleep(self.options.grace)
        self._end_evaluations()

    def _end_evaluations(self) -> None:
        self._grace_is_over = True  # for a trial that is just being created, too
        for scope in self._evaluations:
            scope.cancel()

    async def _pause(self, seconds: float, error: BaseException) -> None:
        logger.warning("The model does not answer (%s); no proposal is asked for in the next %.0f s", error, seconds)
        await anyio.sleep(seconds)
        self._send.send_nowait(Resumed())

    async def _recheck(self) -> None:
        """Others may fail, or die, and leave a place."""
        await anyio.sleep(RECHECK)
        self._send.send_nowait(Rechecked())

    async def _show_progress(self) -> None:
        self._best = await self.lanes.storage.run(self.door.best_value)
        with ProgressBar(self.options.plan.n_trials) as bar:
            try:
                while True:
                    bar.show(self._progress())
                    await anyio.sleep(REFRESH)
            finally:
                bar.show(self._progress())

    def _progress(self) -> Progress:
        state, spending = self.schedule.statistics(), self.tally.status
        return Progress(
            finished=spending.finished,
            running=state.running,
            proposing=state.proposing,
            best=self._best,
            calls=spending.calls,
            tokens=spending.tokens,
            cost=spending.cost,
            seconds=anyio.current_time() - self.tally.began,
        )

    # -- proposing

    async def _propose(self) -> None:
        event: Event = ProposingFailed(OptunaLLMError("the proposal was cancelled"))
        began = anyio.current_time()
        try:
            with CancelScope() as scope:
                self._asks.add(scope)
                try:
                    candidate = await self.asker.candidate()
                    event = Proposed(candidate, sound=not isinstance(candidate, Proposal) or bool(candidate.params))
                except Exception as error:
                    self.tally.spent(getattr(error, "provenance", EMPTY))
                    event = ProposingFailed(error, anyio.current_time())
                finally:
                    self._asks.discard(scope)
        finally:
            self.tally.asked(anyio.current_time() - began)
            self._send.send_nowait(event)

    # -- evaluating

    async def _launch(self, candidate: Candidate) -> None:
        event: Event = Finished()
        try:
            await self._or_give_back(candidate)
            began = anyio.current_time()
            with CancelScope(shield=True):  # a trial that was created is always known here
                trial = await self.asker.create(candidate)
            self.tally.stored(anyio.current_time() - began)
            if trial is None:
                self._spent(candidate)
                event = Missed()
                return
            event = await self._run(trial)
        except SetUpError as error:
            logger.warning("%s; going on with another one", error)
            event = Finished(error, failed=True)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            event = Finished(error)
        finally:
            self._send.send_nowait(event)

    async def _or_give_back(self, candidate: Candidate) -> None:
        """A run that is cancelled creates no more trials."""
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.asker.discard(candidate)
            raise

    async def _run(self, trial: Trial) -> Finished:
        outcome = cancelled()
        try:
            outcome = await self._evaluate(trial)
        except Exception as error:  # of the workers: an objective's own is an outcome
            outcome = failed(error)
            raise
        finally:
            began = anyio.current_time()
            told = await tell_surely(self.lanes, self._tell, trial, outcome)
            self.tally.stored(anyio.current_time() - began)
            self.tally.told(told)
        log_trial(told, outcome)
        for callback in self.options.callbacks:
            await self.lanes.helper.run(self.lanes.stoppable, callback, self.door.study, told)
        if stop_requested(self.door.study):
            self._send.send_nowait(StopRequested("stop"))
        return Finished(self._fatal(outcome.error), failed=told.state is TrialState.FAIL)

    def _tell(self, trial: Trial, outcome: Outcome) -> FrozenTrial:
        """Runs on the storage lane: all that is written of an end is one job."""
        told = self.door.tell(trial, outcome)
        if is_reaped(told) and outcome.state is not TrialState.FAIL:
            told = add_late(self.door, told, outcome, self.asker.run, self.asker.total)
        elif told.state is TrialState.FAIL and self.options.retries and self._fatal(outcome.error) is None:
            self.door.retry(told, self.options.retries)
        if self.options.show_progress_bar:
            self._best = self.door.best_value()
        return told

    async def _evaluate(self, trial: Trial) -> Outcome:
        call = Call(objective=self.options.objective, trial=trial, lane=self.lanes.storage)
        limit = self.options.trial_timeout
        began = anyio.current_time()
        self.tally.launched(began)
        try:
            with anyio.move_on_after(limit) as scope:
                self._evaluations.add(scope)
                if self._grace_is_over:
                    scope.cancel()
                return await self.workers.run(call)
            late = limit is not None and anyio.current_time() - began >= limit
            return timed_out(limit) if late or not self._interrupted else interrupted()
        finally:
            self._evaluations.discard(scope)
            now = anyio.current_time()
            self.tally.ended(now, now - began)

    def _fatal(self, error: BaseException | None) -> BaseException | None:
        """The objective's exception, if it ends the run; `catch` never covers this library's own errors."""
        caught = isinstance(error, self.options.catch) and not isinstance(error, OptunaLLMError)
        return None if caught else error

    def _report(self) -> RunReport:
        state = self.schedule.statistics()
        return self.tally.report(
            now=anyio.current_time(), stop_reason=state.stop_reason or "error", left_over=state.left_over
        )


def log_trial(trial: FrozenTrial, outcome: Outcome) -> None:
    """One INFO line for each trial that was told."""
    if trial.state is TrialState.COMPLETE:
        logger.info("Trial %d complete: value %r, parameters %r", trial.number, trial.value, trial.params)
    elif trial.state is TrialState.PRUNED:
        logger.info("Trial %d pruned at step %s: parameters %r", trial.number, trial.last_step, trial.params)
    else:
        why = "unknown reason" if outcome.failure is None else f"{outcome.failure.type}: {outcome.failure.message}"
        logger.info("Trial %d failed (%s): parameters %r", trial.number, why, trial.params)
