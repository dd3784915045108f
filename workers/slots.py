"""A fixed number of slots, for which runs on any event loops wait in the order they came."""

import threading
from collections import deque
from concurrent.futures import Future

from ..engine.threads import wait_future


class Slots:
    """Slots 0 to `count` - 1, each held by one trial at a time.

    The lock's invariant: while somebody waits, no slot is free.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = list(reversed(range(count)))
        self._waiting: deque[Future[int]] = deque()

    def __repr__(self) -> str:
        return f"Slots(free={len(self._free)}, waiting={len(self._waiting)})"

    async def take(self) -> int:
        """Wait for a free slot; who is cancelled has none."""
        future: Future[int] = Future()
        with self._lock:
            if self._free:
                return self._free.pop()
            self._waiting.append(future)
        try:
            return await wait_future(future)
        except BaseException:
            if not future.cancelled():  # it came at the same moment
                self.give(future.result())
            raise

    def give(self, slot: int) -> None:
        """Pass a slot on to who waits longest; from any thread."""
        while (future := self._next(slot)) is not None:
            if future.set_running_or_notify_cancel():
                future.set_result(slot)
                return

    def _next(self, slot: int) -> Future[int] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free.append(slot)
            return None
