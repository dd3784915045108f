"""Runs `async def` objectives where the engine runs: on the caller's event loop."""

import inspect
import math

import anyio

from ..engine.arguments import number
from ..engine.errors import UsageError
from ..engine.outcome import Outcome, completed, of_exception
from ..engine.records import Call
from .async_trial import AsyncTrial


class CoroutineWorkers:
    """Runs `async def` objectives on the caller's loop; `slots` is the number of workers, if it matters."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = number("slots", slots, low=1, whole=True, optional=True)

    def __repr__(self) -> str:
        return f"CoroutineWorkers(slots={self.slots})"

    async def run(self, call: Call) -> Outcome:
        """Await the objective and then its queued storage calls."""
        trial = AsyncTrial(call.trial, call.lane)
        try:
            value = call.objective(trial)
            if not inspect.isawaitable(value):
                raise UsageError("the objective is a plain function, which CoroutineWorkers cannot run: use threads")
            result = await value
            await trial.flush()
            return completed(result)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:  # how anyio says that our own scope is cancelled
                raise
            return of_exception(error)  # something that the objective awaited was cancelled, not the trial
        except BaseException as error:  # KeyboardInterrupt and SystemExit end the run after the trial is told
            return of_exception(error)
