"""SIGINT and SIGTERM, taken over for as long as a run lasts, and given back exactly as they were.

Only in the main thread, and only where Python's own handlers stand, or those of the event loop's runner: a server that
has set its own keeps them, and cancels its tasks as it does.

A process that an objective forks gives them back at once: it would else survive the SIGTERM with which
`multiprocessing` ends its workers.
"""

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socket import socket
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeAlias

import anyio
from anyio.lowlevel import current_token

from ..errors import UsageError
from ..threads import on_this_loop

HANDLED: Final = (signal.SIGINT, signal.SIGTERM)
# What asyncio and trio install for the time of their own run, and a notebook's kernel while a cell awaits: as good as a
# default, for it cancels the main task.
RUNNERS: Final = {
    ("asyncio.runners", "Runner._on_sigint"),
    ("trio._core._ki", "KIManager.install.<locals>.handler"),
    ("ipykernel.ipkernel", "IPythonKernel._cancel_on_sigint.<locals>.handle_sigint"),
}

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """Takes signals while entered; `received` holds their numbers, from the moment at which they arrived."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._news: anyio.Event | None = None  # of the loop on which this is entered
        self._call_soon: Callable[[Callable[[], object]], None] | None = None
        self._handling = ExitStack()
        self._handlers_before: dict[int, Handler] = {}
        self._wakeup_before: int | None = None

    def __enter__(self) -> Self:
        self._news, self._call_soon = anyio.Event(), on_this_loop()
        self._handling.enter_context(self.handled(getattr(current_token().native_token, "_csock", None)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._handling.close()

    async def wait(self, count: int) -> int:
        """Wait until `count` signals have arrived, and return the number of the last of these."""
        while len(self.received) < count:
            assert self._news is not None, "wait only where this is entered"
            await self._news.wait()
        return self.received[count - 1]

    @contextmanager
    def handled(self, pipe: socket | None = None) -> Iterator[None]:
        """Set the handlers in this thread, which runs the loop, or waits for the one that does; `pipe` wakes the loop.

        Python runs handlers between two instructions: a signal that arrives just before the loop waits for events
        would not be handled until the next event. asyncio has the pipe for this, but only its own `add_signal_handler`
        uses it, and that does not give foreign handlers back. Trio needs no help.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._take_over(pipe)
        _entered.append(self)
        try:
            yield
        finally:
            if self in _entered:
                _entered.remove(self)
            self.give_back()

    def _take_over(self, pipe: socket | None) -> None:
        for number in HANDLED:
            before = signal.getsignal(number)
            if is_default(before):
                self._handlers_before[number] = before
                signal.signal(number, self._handle)
        if self._handlers_before and pipe is not None:
            self._wakeup_before = signal.set_wakeup_fd(pipe.fileno(), warn_on_full_buffer=False)

    def give_back(self) -> None:
        """Put the handlers back that were there before, and what the loop is woken by."""
        if self._wakeup_before is not None:
            signal.set_wakeup_fd(self._wakeup_before)
        for number, before in self._handlers_before.items():
            if signal.getsignal(number) == self._handle:  # else somebody has set another one meanwhile
                signal.signal(number, before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.receive(number)

    def receive(self, number: int) -> None:
        """Take a signal from whoever got it, in any thread."""
        self.received.append(number)
        if self._call_soon is not None:
            self._call_soon(self._tell_waiters)

    def _tell_waiters(self) -> None:
        if self._news is not None:
            self._news.set()
        self._news = anyio.Event()


# Those that are entered, the last one last: runs may be nested. Used in the main thread, and in a child's only thread.
_entered: list[Signals] = []
_masks = threading.local()  # `before`: what a thread that forks had blocked


def _before_fork() -> None:
    """Hold signals back: in a child, one that came before the handlers are given back would be lost."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED if _entered else ())


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _after_fork_in_child() -> None:
    while _entered:
        _entered.pop().give_back()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def wanted_signals(value: object) -> Signals | None:
    """What takes the signals of a run, if `handle_signals` wants that: None where it can be done, True that it must be.

    Somebody else may take them for it: then the value is a `Signals` already.
    """
    if isinstance(value, Signals):
        return value
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"handle_signals must be True, False or None, not {value!r}")
    if value and threading.current_thread() is not threading.main_thread():
        raise UsageError("handle_signals=True works in the main thread only: Python delivers signals to no other")
    return None if value is False else Signals()


def is_default(handler: Handler) -> bool:
    """Whether a handler is Python's own, or one that the runner of an event loop sets for its own time."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    function: Any = handler.func if isinstance(handler, functools.partial) else handler
    name = (getattr(function, "__module__", None), getattr(function, "__qualname__", None))
    return name in RUNNERS


def exit_error(number: int) -> BaseException:
    """The exception with which a program ends that was sent this signal."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
