"""Runs `async def` objectives where the engine runs: on the caller's event loop.

Suggesting is immediate there, and storage calls are queued.
"""

import inspect
import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

import anyio
from anyio import CancelScope
from optuna import Study, Trial
from optuna.distributions import CategoricalChoiceType

from ..engine.arguments import is_coroutine_function, number
from ..engine.errors import THIS_RUN, UsageError, about
from ..engine.logs import get_logger
from ..engine.outcome import Outcome, completed, of_exception
from ..engine.process import ending_forked_children
from ..engine.protocols import Workers
from ..engine.records import Call, Objective
from ..engine.study.optuna_internals import DeclaredTrial, has_preset
from ..engine.study.patience import Patience, StorageGone, is_away
from ..engine.threads import JobThread
from .thread import ThreadWorkers

T = TypeVar("T")

logger = get_logger("optuna_llm.engine")


class Queued(Generic[T]):
    """A storage call that was queued: await it for its result, or do not; it is made either way."""

    def __init__(self, trial: "AsyncTrial", future: Future[T]) -> None:
        self._trial = trial
        self._future = future

    def __await__(self) -> Generator[Any, Any, T]:
        return self._trial._result(self._future).__await__()


class QueuedBool(Queued[bool]):
    """A yes or no that must be awaited. Not awaited it would count as true, and prune every trial: so `bool` raises."""

    def __bool__(self) -> NoReturn:
        with about(THIS_RUN):
            raise UsageError(
                "should_prune() must be awaited in an async objective: `if await trial.should_prune(): ...`"
            )


class _QueuedWrites:
    """A storage that queues the writing of parameters, and passes everything else on."""

    def __init__(self, trial: "AsyncTrial", storage: Any) -> None:
        self._trial = trial
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(self, *args: Any) -> None:
        self._trial._queue_unawaited(self._storage.set_trial_param, *args)


class AsyncTrial:
    """One trial of an `async def` objective.

    `suggest_*` return at once: the values are those of the proposal. `report`, `should_prune`, `set_user_attr` and
    `set_constraint` are queued, in order; awaiting them waits for the storage. What is still queued when the objective
    ends is written before the trial is told, and its first error fails the trial. While the storage is away, the calls
    wait for it.
    """

    def __init__(self, trial: Trial, lane: JobThread, patience: Patience) -> None:
        self._trial = trial
        self._lane = lane
        self._patience = patience
        # Filled here, emptied on the lane; no future where nobody waits for the result.
        self._waiting: deque[tuple[Future[Any] | None, Callable[[], Any]]] = deque()
        self._lane_asked = False  # to make the calls, and it has not begun
        self._error: BaseException | None = None  # the first of a queued call
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
        return Queued(self, self._queue(self._trial.report, value, step))

    def should_prune(self) -> QueuedBool:
        """Queue the pruner's question; `await` the answer."""
        return QueuedBool(self, self._queue(self._trial.should_prune))

    def set_user_attr(self, key: str, value: Any) -> Queued[None]:
        """Queue a user attribute; `value` must be JSON-serializable."""
        return Queued(self, self._queue(self._trial.set_user_attr, key, value))

    def set_constraint(self, key: str, value: float) -> Queued[None]:
        """Queue a constraint's value, above 0 where it is violated; see `optuna.Trial.set_constraint`."""
        return Queued(self, self._queue(self._trial.set_constraint, key, value))

    @property
    def is_behind(self) -> bool:
        """Whether something is queued that is not stored yet, or could not be."""
        return bool(self._waiting) or self._error is not None

    async def flush(self) -> None:
        """Wait until everything queued is stored; raises the first error."""
        if self._waiting:  # what was called is there until its call has returned
            await self._write()
        if self._error is not None:
            raise self._error

    def _queue(self, job: Callable[..., T], *args: Any) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.append((future, partial(job, *args)))
        self._ask_lane()
        return future

    def _queue_unawaited(self, job: Callable[..., object], *args: Any) -> None:
        self._waiting.append((None, partial(job, *args)))
        self._ask_lane()

    def _ask_lane(self) -> None:
        """Have the lane make the calls: once for all that are queued before it begins."""
        if not self._lane_asked:
            self._lane_asked = True
            self._lane.submit(self._make_calls)  # what it raises is raised again to whoever waits

    async def _result(self, future: Future[T]) -> T:
        if not future.done():
            await self._write()
        return future.result()

    async def _write(self) -> None:
        doing = f"storing what trial {self.number} reported"
        await self._patience.retry(doing, lambda: self._lane.submit(self._make_calls), may_repeat=is_away)

    def _make_calls(self) -> None:
        """Make the queued calls, in order; runs on the lane. Where the storage is away, they stay queued."""
        self._lane_asked = False  # first: what is queued from here on is seen below, or asks again
        while self._waiting:
            future, job = self._waiting[0]
            try:
                with about(THIS_RUN):
                    result = job()
            except BaseException as error:
                if is_away(error):
                    raise
                self._error = self._error or error
                if future is not None:
                    future.set_exception(error)
            else:
                if future is not None:
                    future.set_result(result)
            self._waiting.popleft()

    def _require_known(self, name: str, *, single: bool) -> None:
        trial = self._trial
        declared = isinstance(trial, DeclaredTrial)  # and itself refuses what is not
        if single or declared or name in trial.distributions or has_preset(trial, name):
            return
        known = sorted({*trial.distributions, *trial.relative_params})
        with about(THIS_RUN):
            raise UsageError(
                f"the parameter {name!r} is not in the search space {known!r}: an async objective can only suggest "
                "what was proposed; add it to `search_space=`"
            )


class CoroutineWorkers:
    """Runs `async def` objectives on the caller's loop; `slots` is the number of workers, if it matters."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = number("slots", slots, low=1, whole=True, optional=True)

    def __repr__(self) -> str:
        return f"CoroutineWorkers(slots={self.slots})"

    async def run(self, call: Call) -> Outcome:
        """Await the objective and then its queued storage calls.

        A result is one although a storage that is gone did not take what came before it: to be told, or said.
        """
        trial = AsyncTrial(call.trial, call.lane, call.patience)
        try:
            value = call.objective(trial)
            if not inspect.isawaitable(value):
                with about(THIS_RUN):
                    raise UsageError(
                        "the objective is a plain function, which CoroutineWorkers cannot run: use threads"
                    )
            with ending_forked_children():
                result = await value
            try:
                if trial.is_behind:
                    with CancelScope(shield=True):
                        await trial.flush()
            except StorageGone as gone:
                logger.warning("Trial %d ended, and not all that it reported is stored: %s", trial.number, gone)
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
