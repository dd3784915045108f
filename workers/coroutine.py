"""Runs `async def` objectives where the engine runs: on the caller's event loop.

Suggesting is immediate there, and storage calls are queued.
"""

import inspect
import math
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, Generic, NoReturn, TypeVar

import anyio
from optuna import Study, Trial
from optuna.distributions import CategoricalChoiceType

from ..engine.arguments import is_coroutine_function, number
from ..engine.errors import UsageError
from ..engine.outcome import Outcome, completed, of_exception
from ..engine.protocols import Workers
from ..engine.records import Call, Objective
from ..engine.study.optuna_internals import has_preset
from ..engine.threads import JobThread, wait_future
from .thread import ThreadWorkers

T = TypeVar("T")


class Queued(Generic[T]):
    """A storage call that was queued: await it for its result, or do not; it is made either way."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, Any, T]:
        return wait_future(self._future, cancel=False).__await__()


class QueuedBool(Queued[bool]):
    """A yes or no that must be awaited. Not awaited it would count as true, and prune every trial: so `bool` raises."""

    def __bool__(self) -> NoReturn:
        raise UsageError("should_prune() must be awaited in an async objective: `if await trial.should_prune(): ...`")


class _QueuedWrites:
    """A storage that queues the writing of parameters, and passes everything else on."""

    def __init__(self, trial: "AsyncTrial", storage: Any) -> None:
        self._trial = trial
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(self, *args: Any) -> None:
        self._trial._queue(self._storage.set_trial_param, *args)


class AsyncTrial:
    """One trial of an `async def` objective.

    `suggest_*` return at once: the values are those of the proposal. `report`, `should_prune` and `set_user_attr` are
    queued, in order; awaiting them waits for the storage. What is still queued when the objective ends is written
    before the trial is told, and its first error fails the trial.
    """

    def __init__(self, trial: Trial, lane: JobThread) -> None:
        self._trial = trial
        self._lane = lane
        self._pending: list[Future[Any]] = []
        # `Trial.suggest_*` writes the parameter before it returns, which would block the event loop
        trial.storage = _QueuedWrites(self, trial.storage)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"AsyncTrial(number={self.number}, params={self.params})"

    @property
    def number(self) -> int:
        """The trial's number in its study, from 0."""
        return self._trial.number

    @property
    def params(self) -> dict[str, Any]:
        """The values suggested so far; all values if `optimize_async` was given the search space."""
        return self._trial.params

    @property
    def study(self) -> Study:
        """The study; `trial.study.stop()` ends the run after the running trials."""
        return self._trial.study

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The user attributes written so far."""
        return self._trial.user_attrs

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The proposed value of a float parameter; see `optuna.Trial.suggest_float`."""
        self._require_known(name, single=low == high)
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The proposed value of an integer parameter; see `optuna.Trial.suggest_int`."""
        self._require_known(name, single=low == high)
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[CategoricalChoiceType]) -> CategoricalChoiceType:
        """The proposed one of `choices`; see `optuna.Trial.suggest_categorical`."""
        self._require_known(name, single=len(choices) == 1)
        chosen: CategoricalChoiceType = self._trial.suggest_categorical(name, choices)
        return chosen

    def report(self, value: float, step: int) -> Queued[None]:
        """Queue an intermediate value; see `optuna.Trial.report`."""
        return Queued(self._queue(self._trial.report, value, step))

    def should_prune(self) -> QueuedBool:
        """Queue the pruner's question; `await` the answer."""
        return QueuedBool(self._queue(self._trial.should_prune))

    def set_user_attr(self, key: str, value: Any) -> Queued[None]:
        """Queue a user attribute; `value` must be JSON-serializable."""
        return Queued(self._queue(self._trial.set_user_attr, key, value))

    async def flush(self) -> None:
        """Wait until everything queued is stored; raises the first error."""
        pending, self._pending = self._pending, []
        for future in pending:
            await wait_future(future, cancel=False)

    def _queue(self, job: Any, *args: Any) -> Future[Any]:
        future = self._lane.submit(job, *args)
        self._pending.append(future)
        return future

    def _require_known(self, name: str, *, single: bool) -> None:
        trial = self._trial
        if single or name in trial.distributions or has_preset(trial, name):
            return
        known = sorted({*trial.distributions, *trial.relative_params})
        raise UsageError(
            f"the parameter {name!r} is not in the search space {known!r}: an async objective can only suggest what "
            "was proposed; add it to `search_space=`"
        )


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


def default_workers(objective: Objective) -> AbstractContextManager[Workers]:
    """The caller's loop for `async def` objectives; for plain functions threads, which end with the block."""
    return nullcontext(CoroutineWorkers()) if is_coroutine_function(objective) else closing(ThreadWorkers())
