"""A thread that runs jobs in order, and what it takes to await jobs and task groups from any anyio loop."""

import asyncio
import math
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import Context, copy_context
from typing import Any, ParamSpec, Self, TypeVar

import anyio
from anyio.lowlevel import current_token

from .errors import OptunaLLMError
from .mailbox import mailbox_of

T = TypeVar("T")
P = ParamSpec("P")


async def wait_future(future: Future[T], *, cancel: bool = True) -> T:
    """Await a future that another thread completes; cancellation cancels the future too, if `cancel`.

    Works on asyncio and trio. Raises what the future raises, and `OptunaLLMError` if its owner gave it up.
    """
    try:
        await done_event(future).wait()
    except BaseException:
        if cancel:
            future.cancel()
        raise
    return result_of(future)


def result_of(future: Future[T]) -> T:
    """The result of a future that is done; raises as `wait_future` does."""
    try:
        return future.result()
    except CancelledError:
        raise OptunaLLMError("the work was given up by the thread that did it, which is closing") from None


async def settled(future: Future[T], seconds: float) -> None:
    """Wait until a future is done, well or not, although we are cancelled; for at most `seconds`."""
    with anyio.move_on_after(seconds, shield=True):
        await done_event(future).wait()


def done_event(future: Future[T]) -> anyio.Event:
    """An event of the running loop, set once the future is done."""
    done = anyio.Event()
    call_soon = on_this_loop()
    future.add_done_callback(lambda _: call_soon(done.set))
    return done


def runs_loop() -> bool:
    """Whether an event loop runs in this thread, be it between two tasks."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    with suppress(RuntimeError):
        current_token()
        return True
    return False


def outside_of_loops() -> Context:
    """A copy of the context variables, without the one by which anyio takes whoever copied them for a running loop."""
    context = copy_context()
    for variable in context:
        if variable.name == "current_async_library_cvar":
            context.run(variable.set, None)
    return context


def on_this_loop() -> Callable[[Callable[[], object]], None]:
    """A function that lets any thread, or a signal handler, have the running loop call another function soon."""
    native: Any = _running_task_loop() or current_token().native_token
    schedule = mailbox_of(native).put if isinstance(native, asyncio.AbstractEventLoop) else native.run_sync_soon

    def call_soon(callback: Callable[[], object]) -> None:
        try:
            schedule(callback)
        except RuntimeError:  # the loop is closed: nobody is left to wake
            return

    return call_soon


def _running_task_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of the asyncio task that runs in this thread, if one does: anyio finds it too, ten times as slowly."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop() if asyncio.current_task() else None
    return None


class Shield:
    """Puts cancellation off until it is left, if `active`: anyio's, and asyncio's own kind, which knows no shields.

    A loop that is closed, and a program that cancels its tasks, use the second. Whatever is awaited within is awaited
    in `waiting()`, and is to wait again.
    """

    def __init__(self, active: bool) -> None:
        self._active = active
        self._put_off = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        task = asyncio.current_task() if self._put_off else None
        if task is not None:
            task.cancel()  # whatever it awaits next raises

    @contextmanager
    def waiting(self, seconds: float = math.inf) -> Iterator[None]:
        """Come to its end after `seconds`, and when cancelled, too."""
        try:
            with anyio.move_on_after(seconds, shield=self._active):
                yield
        except anyio.get_cancelled_exc_class():
            task = asyncio.current_task() if self._active else None
            if task is None:
                raise
            task.uncancel()
            self._put_off = True


class JobThread:
    """One daemon thread; jobs run one at a time, in the order they were submitted, all of them inside `within`."""

    def __init__(self, name: str, within: AbstractContextManager[object] | None = None) -> None:
        self._within = within or nullcontext()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "alive" if self._thread.is_alive() else "closed"
        return f"JobThread({self._thread.name!r}, {state}, {self._jobs.qsize()} queued)"

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `job(*args)`; cancelling the future drops it unless it has begun."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = job(*args, **kwargs)
            except BaseException as error:  # carried to whoever waits, KeyboardInterrupt included
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(run)
        return future

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Queue `job(*args)` and await its result."""
        return await wait_future(self.submit(job, *args, **kwargs))

    def close(self) -> None:
        """End the thread after the jobs that are queued; does not wait."""
        self._jobs.put(None)

    def _work(self) -> None:
        with self._within:
            while (job := self._jobs.get()) is not None:
                job()
                del job  # an idle thread holds on to no study


class SharedJob:
    """A job that many want done at once: callers of the same moment share one run of it, that begins after the call."""

    def __init__(self, thread: JobThread, job: Callable[[], object]) -> None:
        self._thread = thread
        self._job = job
        self._next: Future[object] | None = None

    def begin(self) -> Future[object]:
        """Such a run; others may wait for the same one, so nobody may cancel it."""
        if self._next is None or self._next.running() or self._next.done():  # begun: it may have read too early
            self._next = self._thread.submit(self._job)
        return self._next


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first error of an exception group instead of the group, as the caller of a single function expects.

    A note counts the others: they failed at the same moment, for a task group cancels the rest at the first failure.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        first, *others = _leaves(group)
        if others:
            first.add_note(f"and {len(others)} more at the same moment, the last: {others[-1]!r}")
        raise first from first.__cause__


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
