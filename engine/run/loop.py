"""The thin shell around the schedule: it does what the schedule decided, and reports back what happened."""

import math
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import anyio
from anyio import CancelScope
from optuna.trial import TrialState

from ..errors import BudgetExhaustedError, OptunaLLMError
from ..fleet.runs import end_document
from ..foreign_text import said
from ..logs import get_logger
from ..protocols import Workers
from ..records import EMPTY
from ..study.journal_repair import was_cut
from ..study.optuna_internals import storage_of
from ..study.patience import StorageGone
from ..threads import unwrapped
from .candidates import CandidateSource
from .context import RunOptions
from .lines import NO_END, RunLog
from .report import RunReport, Tally, describe_study, progress_bar
from .schedule import (
    Action,
    CancelProposals,
    Discard,
    Event,
    Launch,
    Pause,
    Propose,
    Proposed,
    ProposingFailed,
    Recheck,
    Rechecked,
    Resumed,
    Schedule,
    StopRequested,
)
from .signals import Signals, exit_error
from .trial_runner import TrialRunner

logger = get_logger("optuna_llm.engine")

# Seconds. Twice a second looks alive, and costs nothing beside a trial.
PROGRESS_SECONDS: Final = 0.5
# Seconds. Each look at a full study is a reading of it; a place comes free once in a trial's time at most.
RECHECK_SECONDS: Final = 1.0


class Run:
    """One run of one study."""

    def __init__(self, options: RunOptions, source: CandidateSource, workers: Workers) -> None:
        self._options = options
        self._source = source
        self._context = source.context
        self._schedule = Schedule(options.plan)
        self._tally = Tally(started=anyio.current_time(), n_workers=options.plan.n_workers)
        self._log = RunLog(options.plan, source.context.declared)
        self._asks: set[CancelScope] = set()
        self._signals = options.signals
        self._events, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._send = self._events.send_nowait
        self._trials = TrialRunner(options, source.context, workers, self._tally, self._log, self._send)

    async def __call__(self) -> RunReport:
        """Run to the end; raises the error that ended it, after every running trial was told."""
        with self._events, self._receive:
            try:
                await self._begin()
                await self._conduct()
            finally:
                self._source.discard_open()
                report = self._report()
                await self._end(report)
                if was_cut(storage_of(self._context.door.study)):
                    self._log_all_results()
                self._say_end(report)
        if self._schedule.error is not None:
            raise self._schedule.error
        if self._signals is not None and self._signals.received:
            raise exit_error(self._signals.received[0])
        return report

    def _report(self) -> RunReport:
        """What the run did until now; a run that raises ends without the schedule's knowing."""
        raised = "error" if isinstance(sys.exception(), Exception) else "cancellation"
        return self._tally.report(
            now=anyio.current_time(),
            stop_reason=self._schedule.stop_reason or raised,
            left_over=self._schedule.left_over,
            untracked=self._context.door.spent.untracked,
        )

    def _say_end(self, report: RunReport) -> None:
        if report.stop_reason == "occupied":
            context = self._context
            self._log.leftover(context.leftover(context.door.snapshot()), context.places.total)
        self._log.end(report)

    async def _begin(self) -> None:
        """Write our lease, fail what dead runs left RUNNING, and log where the study stands."""
        context, options = self._context, self._options
        capped = context.proposer is not None and context.proposer.capped
        if not capped and options.plan.n_trials is options.timeout is context.places.total is None:
            logger.warning(NO_END)
        context.door.sharing.active_runs.add(context.run)
        if context.keeper is not None:
            await context.lanes.store("beginning the run", context.keeper.start)
        self._log.metric = await context.lanes.store("beginning the run", context.door.metric_name)
        snapshot = await context.lanes.refresh()
        if snapshot.finished or snapshot.running or snapshot.waiting:
            now = describe_study(snapshot, context.places.total)
            logger.info("Study %r goes on: %s", context.door.study.study_name, now)
        self._log.leftover(context.leftover(snapshot), context.places.total)
        if context.search_space is None:  # then what trials have, they asked for
            self._log.asked(snapshot.space, complete=False)

    async def _end(self, report: RunReport) -> None:
        """Store what was spent without a trial, and what the run did; give up where the storage does not answer."""
        context, lanes, keeper = self._context, self._context.lanes, self._context.keeper
        context.door.sharing.active_runs.discard(context.run)
        if keeper is not None:
            keeper.retire()
        try:
            if context.door.spending.unsaved() is not None:
                await lanes.store("storing what was spent", context.door.save_spending, shield=True)
            end = end_document(
                stop_reason=report.stop_reason,
                seconds=report.seconds,
                n_complete=report.n_complete,
                n_pruned=report.n_pruned,
                n_failed=report.n_failed,
            )
            await lanes.store("ending the run", context.write_end, end, shield=True)
        except StorageGone as gone:
            logger.warning("The end of run %s is not in the study: %s", context.run, gone)

    def _log_all_results(self) -> None:
        """Log what the study held: its journal may not hold it any more."""
        for trial in self._context.door.snapshot().finished:
            if trial.state is not TrialState.FAIL:
                result = (trial.number, trial.state.name, trial.value, trial.params)
                logger.error("Trial %d, of the journal before it was cut: state %s, value %r, parameters %r", *result)

    async def _conduct(self) -> None:
        options, signals = self._options, self._signals
        with unwrapped(), signals or nullcontext():
            async with anyio.create_task_group() as group:
                if signals is not None:
                    group.start_soon(self._obey, signals)
                if options.timeout is not None:
                    group.start_soon(self._send_after, options.timeout, StopRequested("timeout"))
                if options.show_progress_bar:
                    group.start_soon(self._show_progress)
                group.start_soon(self._follow_schedule, group)  # a task of its own: events do not wake our callers

    async def _follow_schedule(self, group: anyio.abc.TaskGroup) -> None:
        self._act(group, self._schedule.start())
        while not self._schedule.done:
            self._act(group, self._schedule.handle(await self._receive.receive()))
        group.cancel_scope.cancel()  # only timers, the wait for signals and the progress bar are left

    def _act(self, group: anyio.abc.TaskGroup, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Propose(left):
                    group.start_soon(self._propose, left)
                case CancelProposals():
                    for scope in self._asks:
                        scope.cancel()
                case Launch(candidate):
                    group.start_soon(self._trials.run, candidate)
                case Discard(candidate):
                    candidate.discard()
                    self._tally.spent(candidate.proposal.provenance)
                case Pause(seconds, error):
                    logger.warning(
                        "The model does not answer (%s); nothing is asked for %.0f s", said(str(error)), seconds
                    )
                    group.start_soon(self._send_after, seconds, Resumed())
                case Recheck():
                    group.start_soon(self._send_after, RECHECK_SECONDS, Rechecked())

    async def _send_after(self, seconds: float, event: Event) -> None:
        await anyio.sleep(seconds)
        self._send(event)

    async def _propose(self, left: int | None) -> None:
        """Find one candidate. The schedule always hears of the end: else the run would wait for ever."""
        event: Event | None = None
        began = anyio.current_time()
        scope = CancelScope()
        self._asks.add(scope)
        try:
            with scope:
                candidate = await self._source.candidate(left)
                event = Proposed(candidate, candidate.has_content)
        except Exception as error:
            self._tally.spent(getattr(error, "provenance", EMPTY))
            if isinstance(error, OptunaLLMError):  # its message says it all
                logger.debug("A proposal failed", exc_info=error)
                error.__traceback__ = None
            foreign = getattr(error, "study", None) not in (None, self._context.door.key)
            if isinstance(error, BudgetExhaustedError) and not foreign:
                self._log.budget(error)
            event = ProposingFailed(error, anyio.current_time(), foreign, began)
        finally:
            self._asks.discard(scope)
            self._tally.add(limiter_seconds=anyio.current_time() - began)
            self._send(event or ProposingFailed(OptunaLLMError("the proposal was cancelled")))

    async def _obey(self, signals: Signals) -> None:
        """The first signal asks no more and lets running trials finish within `grace`; the second ends them."""
        number, grace = await signals.wait(1), self._options.grace
        message = "%s: no more trials are asked for; those running have %.0f s to finish, or until the next interrupt"
        logger.warning(message, signal.Signals(number).name, grace)
        self._send(StopRequested("signal"))
        with anyio.move_on_after(grace):
            await signals.wait(2)
        self._trials.interrupt()

    # -- what is shown, and what is left

    async def _show_progress(self) -> None:
        self._tally.best = await self._context.lanes.store("reading the study", self._context.door.best)
        with progress_bar(self._options.plan.n_trials) as bar:
            try:
                while True:
                    self._show_on(bar)
                    await anyio.sleep(PROGRESS_SECONDS)
            finally:
                self._show_on(bar)

    def _show_on(self, bar: Any) -> None:
        running, proposing = self._schedule.running, self._schedule.proposing
        self._tally.show(bar, now=anyio.current_time(), running=running, proposing=proposing)
