"""Runs plain functions in daemon threads, one for each running trial."""

import contextvars
import inspect
import itertools
import threading
from typing import Any, Final

from optuna import Trial

from ..engine.arguments import number
from ..engine.errors import THIS_RUN, UsageError, about
from ..engine.outcome import Outcome, completed, of_exception
from ..engine.process import ending_forked_children
from ..engine.protocols import WorkerCapabilities
from ..engine.records import Call
from ..engine.study.lanes import stoppable
from ..engine.threads import JobThread


class Cancelled(threading.Event):
    """Whether a trial was cancelled: true or false as it is, and something to `wait` for.

    `if trial.cancelled: return ...` in a loop; `trial.cancelled.wait(5.0)` instead of `time.sleep(5.0)`.
    """

    def __bool__(self) -> bool:
        return self.is_set()


class ThreadWorkers:
    """Runs plain objectives with a plain `optuna.Trial`; `slots` is the number of workers, if it matters.

    A thread cannot be killed: when a trial is cancelled or over its time, its thread is told and abandoned. It ends
    with the objective, and never keeps the process alive. An objective that wants to know looks at
    `trial.cancelled`, a `Cancelled`.
    """

    capabilities: Final = WorkerCapabilities(awaits=False)

    def __init__(self, slots: int | None = None) -> None:
        self.slots = number("slots", slots, low=1, whole=True, optional=True)
        self._idle: list[JobThread] = []
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"ThreadWorkers(slots={self.slots}, idle={len(self._idle)})"

    async def run(self, call: Call) -> Outcome:
        """Call the objective in a thread, in a copy of the caller's context variables."""
        thread = self._idle.pop() if self._idle else JobThread(f"optuna-llm objective {next(self._numbers)}")
        context = contextvars.copy_context()
        cancelled = Cancelled()
        call.patience.lend_to(call.trial)
        call.trial.cancelled = cancelled  # type: ignore[attr-defined]  # objectives get Optuna's own class of trial
        try:
            outcome = await thread.run(context.run, evaluate, call.objective, call.trial)
        except BaseException:
            cancelled.set()
            thread.close()  # it is busy for as long as the objective likes, so it never becomes idle again
            raise
        self._idle.append(thread)
        return outcome

    def close(self) -> None:
        """End the idle threads; the next run starts new ones."""
        while self._idle:
            self._idle.pop().close()


def evaluate(objective: Any, trial: Trial) -> Outcome:
    """Call a plain objective, which may stop the study, and return what came of it."""
    with stoppable(trial.study):
        return judged(objective, trial)


def judged(objective: Any, trial: Any) -> Outcome:
    """Call a plain objective and return what came of it."""
    try:
        with ending_forked_children():
            value = objective(trial)
        if inspect.isawaitable(value):
            getattr(value, "close", bool)()  # else Python warns that the coroutine was never awaited
            with about(THIS_RUN):
                raise UsageError(
                    "the objective returned an awaitable, which these workers cannot await: an `async def` "
                    "objective runs on the caller's loop, without workers="
                )
        return completed(value)
    except BaseException as error:  # KeyboardInterrupt and SystemExit end the run after the trial is told
        return of_exception(error)
