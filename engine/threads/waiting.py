"""What it takes to await other threads, and task groups, from any anyio loop."""

import asyncio
import math
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import partial
from typing import Self, TypeVar

import anyio

from ..errors import OptunaLLMError
from .loops import on_this_loop

T = TypeVar("T")


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
    future.add_done_callback(partial(_call, on_this_loop(), done.set))
    return done


def _call(call_soon: Callable[[Callable[[], object]], None], callback: Callable[[], object], _: Future[T]) -> None:
    call_soon(callback)


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
