"""The one asyncio loop that talks to models: on a daemon thread, started at first use, shared by the whole process.

Clients, limiters and budgets live here, whoever asks, so that they hold across threads, studies and event loops.
"""

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeVar

from ...engine.errors import UsageError
from ...engine.threads import mailbox_of

T = TypeVar("T")

Closer = Callable[[], Awaitable[None]]

# An exit waits so long for connections to close: more than a round trip, less than a user takes for a hang.
CLOSE_SECONDS: Final = 5.0


class _Call(Future[T], Generic[T]):
    """The outcome of one submitted call. Cancelling it cancels the task; the future is done when the task has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> bool:
        if self.done():
            return self.cancelled()
        try:
            mailbox_of(self._loop).put(self._end_task)
        except RuntimeError:  # the loop is closed, and no task is left on it
            self.mark_cancelled()
        return True

    def start(self, fn: Callable[[], Awaitable[T]], context: Context, tasks: set[asyncio.Task[None]]) -> None:
        """Runs on the loop; the task is among `tasks` until it has ended."""
        self._task = self._loop.create_task(self._run(fn), context=context)
        self._task.add_done_callback(partial(self._ended, tasks), context=context)
        tasks.add(self._task)

    def _ended(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        self.mark_cancelled()

    def mark_cancelled(self) -> None:
        if not self.done():
            super().cancel()
            self.set_running_or_notify_cancel()

    def _end_task(self) -> None:
        if self._task is not None:  # else settled already: it came while the loop was closing
            self._task.cancel()

    async def _run(self, fn: Callable[[], Awaitable[T]]) -> None:
        try:
            result = await fn()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # SystemExit of a user's function belongs to the caller, not to the loop
            self.set_exception(error)
        else:
            self.set_result(result)


class LLMLoop:
    """One daemon thread that runs one asyncio loop until `close`, which awaits the `closers` there."""

    def __init__(self, closers: Sequence[Closer] = ()) -> None:
        self._closers = closers
        self._loop = asyncio.new_event_loop()
        self._mailbox = mailbox_of(self._loop)
        self._tasks: set[asyncio.Task[None]] = set()  # of calls
        self._closing = asyncio.Event()
        self._main_task = self._loop.create_task(self._main())
        self.thread = threading.Thread(target=self._run, name="optuna-llm", daemon=True)
        self.thread.start()

    def __repr__(self) -> str:
        return f"LLMLoop({'running' if self.thread.is_alive() else 'closed'})"

    def submit(self, fn: Callable[[], Awaitable[T]]) -> Future[T]:
        call: _Call[T] = _Call(self._loop)
        self._mailbox.put(partial(self._start, call, fn, copy_context()))
        return call

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Cancel what runs, await the closers, end the thread; gives up after about `seconds`."""
        if self.thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self.thread.join(seconds)

    def _start(self, call: _Call[T], fn: Callable[[], Awaitable[T]], context: Context) -> None:
        if self._closing.is_set():
            call.mark_cancelled()
        else:
            call.start(fn, context, self._tasks)

    def _run(self) -> None:
        """Run the loop as `asyncio.run` does, but do not await the end of its thread pool.

        That takes a thread, and none may be started while the interpreter exits.
        """
        try:
            self._loop.run_until_complete(self._main_task)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        await self._closing.wait()
        await _cancel(self._tasks)
        await _close_all(self._closers)
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})  # what libraries left behind


async def _cancel(tasks: Collection[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks, and wait until they have ended."""
    ending = [task for task in tasks if task is not None]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _close_all(closers: Sequence[Closer]) -> None:
    """Await the closers, last registered first: what was opened on top of something closes before it."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS / 2):
            for fn in reversed(closers):
                with contextlib.suppress(Exception):  # one that fails must not keep the others open
                    await fn()
    except TimeoutError:
        pass


_lock = threading.Lock()  # guards the names below: there is one loop at most, and none after the exit has begun
_current: LLMLoop | None = None
_exiting = False
_closers: list[Closer] = []
_of_parents: list[tuple[LLMLoop | None, list[Closer]]] = []


def _running_loop() -> LLMLoop:
    global _current
    with _lock:
        if _exiting:
            raise RuntimeError("the LLM loop is closed: the interpreter is exiting")
        if _current is None:
            _current = LLMLoop(_closers)
            _close_first_at_exit()
        return _current


def submit(fn: Callable[[], Awaitable[T]]) -> Future[T]:
    """Start `fn()` on the LLM loop. Cancelling the future cancels the task; the future is done when the task is."""
    return _running_loop().submit(fn)


def run_sync(fn: Callable[[], Awaitable[T]]) -> T:
    """Run `fn()` on the LLM loop and wait for it; whatever interrupts the wait cancels the task."""
    loop = _running_loop()
    if threading.current_thread() is loop.thread:
        raise UsageError("this would wait for the LLM loop from the LLM loop itself: await it instead")
    future = loop.submit(fn)
    try:
        return future.result()
    finally:
        future.cancel()


def at_close(fn: Closer) -> None:
    """Await `fn()` on the LLM loop when it closes, after the tasks have ended. Registering twice counts once."""
    with _lock:
        if fn not in _closers:
            _closers.append(fn)
    _close_first_at_exit()


def _close_first_at_exit() -> None:
    # Exit handlers run last in, first out: connections must close here, not under litellm's own exit handler.
    atexit.unregister(_close_at_exit)
    atexit.register(_close_at_exit)


def _close_at_exit() -> None:
    global _exiting
    with _lock:
        _exiting = True
        loop = _current
    if loop is not None:
        loop.close()


def _forget_after_fork() -> None:
    global _lock, _current, _closers
    # Kept, neither closed nor collected: that would unregister the parent's connections and its wake-up pipe from an
    # epoll that both share.
    _of_parents.append((_current, _closers))
    _lock = threading.Lock()
    _current, _closers = None, []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
