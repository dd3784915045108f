"""SIGINT and SIGTERM, taken over for as long as a run lasts, and given back exactly as they were.

Only in the main thread, and only where Python's own handlers stand, or those of the event loop's runner: a server that
has set its own keeps them, and cancels its tasks as it does.
"""

import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeAlias

import anyio
from anyio.lowlevel import current_token

from ..errors import UsageError
from ..threads import on_this_loop

HANDLED: Final = (signal.SIGINT, signal.SIGTERM)
# What asyncio and trio install for the time of their own run: as good as a default, for it cancels the main task.
RUNNERS: Final = {("asyncio.runners", "Runner._on_sigint"), ("trio._core._ki", "KIManager.install.<locals>.handler")}

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """Takes signals while entered; `received` holds their numbers, from the moment at which they arrived."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._news = anyio.Event()
        self._handlers_before: dict[int, Handler] = {}
        self._wakeup_before: int | None = None
        self._call_soon: Callable[[Callable[[], object]], None] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._call_soon = on_this_loop()
            for number in HANDLED:
                before = signal.getsignal(number)
                if is_default(before):
                    self._handlers_before[number] = before
                    signal.signal(number, self._handle)
            self._wake_loop_on_signals()
        return self

    async def wait(self, count: int) -> int:
        """Wait until `count` signals have arrived, and return the number of the last of these."""
        while len(self.received) < count:
            await self._news.wait()
        return self.received[count - 1]

    def _wake_loop_on_signals(self) -> None:
        """Let a signal end the loop's wait.

        Python runs handlers between two instructions: a signal that arrives just before the loop waits for events
        would not be handled until the next event. asyncio has the pipe for this, but only its own
        `add_signal_handler` uses it, and that does not give foreign handlers back. Trio needs no help.
        """
        pipe = getattr(current_token().native_token, "_csock", None)
        if self._handlers_before and pipe is not None:
            self._wakeup_before = signal.set_wakeup_fd(pipe.fileno(), warn_on_full_buffer=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._wakeup_before is not None:
            signal.set_wakeup_fd(self._wakeup_before)
        for number, before in self._handlers_before.items():
            if signal.getsignal(number) == self._handle:  # else somebody has set another one meanwhile
                signal.signal(number, before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        if self._call_soon is not None:
            self._call_soon(self._tell_waiters)

    def _tell_waiters(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def wants_signals(value: bool | None) -> bool:
    """Whether to handle signals: None means where it can be done, True that it must be."""
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"handle_signals must be True, False or None, not {value!r}")
    if value and threading.current_thread() is not threading.main_thread():
        raise UsageError("handle_signals=True works in the main thread only: Python delivers signals to no other")
    return value is not False


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
