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

from anyio.lowlevel import current_token

from ..threads import on_this_loop

HANDLED: Final = (signal.SIGINT, signal.SIGTERM)
RUNNERS: Final = {("asyncio.runners", "Runner._on_sigint"), ("trio._core._ki", "KIManager.install.<locals>.handler")}

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """While entered, calls `arrived(number)` on the loop that entered it, for each signal that comes.

    `heard` holds the signals so far, from the moment at which they came.
    """

    def __init__(self, arrived: Callable[[int], None]) -> None:
        self.heard: list[int] = []
        self._arrived = arrived
        self._before: dict[int, Handler] = {}
        self._woken: int | None = None
        self._pass_on: Callable[[Callable[[], object]], None] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._pass_on = on_this_loop()
            for number in HANDLED:
                before = signal.getsignal(number)
                if is_default(before):
                    self._before[number] = before
                    signal.signal(number, self._handle)
            self._wake()
        return self

    def _wake(self) -> None:
        """Have a signal end the loop's wait; else one that comes just before it waits is heard at the next event."""
        pipe = getattr(current_token().native_token, "_csock", None)
        if self._before and pipe is not None:
            self._woken = signal.set_wakeup_fd(pipe.fileno(), warn_on_full_buffer=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._woken is not None:
            signal.set_wakeup_fd(self._woken)
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:  # else somebody has set another one meanwhile
                signal.signal(number, before)

    @property
    def installed(self) -> bool:
        """Whether any signal is handled."""
        return bool(self._before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.heard.append(number)
        if self._pass_on is not None:
            self._pass_on(functools.partial(self._arrived, number))


def is_default(handler: Handler) -> bool:
    """Whether a handler is Python's own, or one that the runner of an event loop sets for its own time."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    function: Any = handler.func if isinstance(handler, functools.partial) else handler
    name = (getattr(function, "__module__", None), getattr(function, "__qualname__", None))
    return name in RUNNERS


def leave(number: int) -> BaseException:
    """What a program that was sent this signal ends with."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
