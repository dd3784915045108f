"""Runs plain functions in daemon threads, one for each running trial."""

import contextvars
import inspect
import itertools
import threading
from typing import Any

from optuna import Trial

from ..engine.arguments import number
from ..engine.errors import UsageError
from ..engine.outcome import Outcome, completed, of_exception
from ..engine.records import Call
from ..engine.study.lanes import stoppable
from ..engine.threads import JobThread


class ThreadWorkers:
    """Runs plain objectives with a plain `optuna.Trial`; `slots` is the number of workers, if it matters.

    A thread cannot be killed: when a trial is cancelled or over its time, its thread is told and abandoned. It ends
    with the objective, and never keeps the process alive. An objective that wants to know looks at
    `trial.cancelled`, a `threading.Event`.
    """

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
        cancelled = threading.Event()
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
    """Call a plain objective and return what came of it."""
    try:
        with stoppable(trial.study):
            value = objective(trial)
        if inspect.isawaitable(value):
            getattr(value, "close", bool)()  # else Python warns that the coroutine was never awaited
            raise UsageError("the objective returned an awaitable, which threads cannot await: use `async def`")
        return completed(value)
    except BaseException as error:  # KeyboardInterrupt and SystemExit end the run after the trial is told
        return of_exception(error)
