"""What other threads have a loop do: many calls, and one wake-up for all that come before it looks.

A wake-up takes a system call on either side, and gives up the interpreter's lock: with a thousand trials at once that
is more than the calls themselves.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary, ref


class Mailbox:
    """The calls that an asyncio loop is to make, in the order in which any thread, or a signal handler, put them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False  # and the loop has not looked yet

    def __repr__(self) -> str:
        return f"Mailbox({len(self._calls)} waiting)"

    def put(self, callback: Callable[[], object]) -> None:
        """Have the loop call it soon. Raises `RuntimeError` if the loop is closed."""
        self._calls.append(callback)
        if not self._woken or self._is_gone():  # two threads may both find it not woken: the loop then looks twice
            self._wake()

    def offer(self, callback: Callable[[], object]) -> None:
        """Have the loop call it soon, if it is still there: else nobody is left to wake."""
        with suppress(RuntimeError):
            self.put(callback)

    def _is_gone(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def _wake(self) -> None:
        loop, self._woken = self._loop(), True
        try:
            if loop is None:
                raise RuntimeError("the event loop is gone")
            loop.call_soon_threadsafe(self._look)
        except RuntimeError:
            self._woken = False
            self._calls.clear()
            raise

    def _look(self) -> None:
        """Make the calls that are there. What comes meanwhile is for the next look: nothing else on the loop waits."""
        self._woken = False
        try:
            for _ in range(len(self._calls)):
                self._calls.popleft()()
        finally:  # the loop reports what a call raises; those after it are made all the same
            if self._calls and not self._woken:
                self._wake()


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = WeakKeyDictionary()


def mailbox_of(loop: asyncio.AbstractEventLoop) -> Mailbox:
    """The one mailbox of a loop."""
    return _mailboxes.get(loop) or _mailboxes.setdefault(loop, Mailbox(loop))
