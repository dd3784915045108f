"""The thin shell around the schedule: it does what the schedule decided, and reports back what happened."""

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final

import anyio
from anyio import CancelScope

from ..errors import OptunaLLMError
from ..protocols import Workers
from ..records import EMPTY
from ..threads import unwrapped
from .candidates import CandidateSource
from .context import RunOptions
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

logger = logging.getLogger("optuna_llm.engine")

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
        self._asks: set[CancelScope] = set()
        self._signals = Signals()
        self._events, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._send = self._events.send_nowait
        self._trials = TrialRunner(options, source.context, workers, self._tally, self._send)

    async def __call__(self) -> RunReport:
        """Run to the end; raises the error that ended it, after every running trial was told."""
        with self._events, self._receive:
            try:
                await self._begin()
                await self._conduct()
            finally:
                self._discard_candidates()
                await self._end()
        report = self._tally.report(
            now=anyio.current_time(),
            stop_reason=self._schedule.stop_reason or "error",
            left_over=self._schedule.left_over,
        )
        logger.info("Run ended: %s", report)
        if self._schedule.error is not None:
            raise self._schedule.error
        if self._signals.received:
            raise exit_error(self._signals.received[0])
        return report

    async def _begin(self) -> None:
        """Write our lease, fail what dead runs left RUNNING, and log where the study stands."""
        context = self._context
        context.door.sharing.active_runs.add(context.run)
        if context.keeper is not None:
            await context.lanes.store("beginning the run", context.keeper.start)
        snapshot = await context.lanes.refresh()
        if snapshot.finished or snapshot.running or snapshot.waiting:
            now = describe_study(snapshot, context.places.total)
            logger.info("Study %r goes on: %s", context.door.study.study_name, now)

    async def _end(self) -> None:
        """Store what was spent without a trial, and end our lease; give up where the storage does not answer."""
        context, keeper = self._context, self._context.keeper
        context.door.sharing.active_runs.discard(context.run)
        if keeper is not None:
            keeper.retire()
        with anyio.move_on_after(context.lanes.policy.seconds, shield=True):
            if context.door.spending.unsaved() is not None:
                await context.lanes.storage.run(context.door.save_spending)
            if keeper is not None:
                await context.lanes.storage.run(keeper.stop)

    async def _conduct(self) -> None:
        options = self._options
        with unwrapped(), self._signals if options.handle_signals else nullcontext():
            async with anyio.create_task_group() as group:
                if options.handle_signals:
                    group.start_soon(self._obey_signals)
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
                    logger.warning("The model does not answer (%s); nothing is asked for %.0f s", error, seconds)
                    group.start_soon(self._send_after, seconds, Resumed())
                case Recheck():
                    group.start_soon(self._send_after, RECHECK_SECONDS, Rechecked())

    async def _send_after(self, seconds: float, event: Event) -> None:
        await anyio.sleep(seconds)
        self._send(event)

    async def _propose(self, left: int | None) -> None:
        """Find one candidate. The schedule always hears of the end: else the run would wait for ever."""
        event: Event = ProposingFailed(OptunaLLMError("the proposal was cancelled"))
        began = anyio.current_time()
        scope = CancelScope()
        self._asks.add(scope)
        try:
            with scope:
                candidate = await self._source.candidate(left)
                event = Proposed(candidate, candidate.has_content)
        except Exception as error:
            self._tally.spent(getattr(error, "provenance", EMPTY))
            event = ProposingFailed(error, anyio.current_time())
        finally:
            self._asks.discard(scope)
            self._tally.add(limiter_seconds=anyio.current_time() - began)
            self._send(event)

    async def _obey_signals(self) -> None:
        """The first signal asks no more and lets running trials finish within `grace`; the second ends them."""
        number, grace = await self._signals.wait(1), self._options.grace
        message = "Signal %d: no more trials; those running have %.0f s to finish, or until the next signal"
        logger.warning(message, number, grace)
        self._send(StopRequested("signal"))
        with anyio.move_on_after(grace):
            await self._signals.wait(2)
        self._trials.interrupt()

    # -- what is shown, and what is left

    async def _show_progress(self) -> None:
        self._tally.best = await self._context.lanes.storage.run(self._context.door.best_value)
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

    def _discard_candidates(self) -> None:
        """Give back what a cancelled run had ready, or had not even looked at."""
        for candidate in self._schedule.ready:
            candidate.discard()
        with suppress(anyio.WouldBlock):
            while True:
                event = self._receive.receive_nowait()
                if isinstance(event, Proposed):
                    event.candidate.discard()
