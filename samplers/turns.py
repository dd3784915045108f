"""Turns of many tasks on one loop: as many in one of its iterations as hold up nothing else, in order.

One in each would be fair as well. But every iteration gives up the interpreter's lock, and waits for it beside the
other threads of a run: a wave of asks would be written last, all at once, and its replies come all at once.
"""

import asyncio
import time
from collections import deque
from typing import Final

# Seconds of CPU that the turns of one iteration take, about: as long as a loop may be held, since each iteration waits
# about as long for the interpreter's lock where other threads want it.
ITERATION_SECONDS: Final = 0.004


class Turns:
    """The turns on one loop. While somebody is in one, `async with turns:`, nobody else is.

    A wave of asks, or of replies, would hold up timers and connections until the last of them is dealt with.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lock = asyncio.Lock()  # free when a turn comes, unless one before it awaits something in its turn
        self._at_once = 1
        self._came = 0  # how many came last
        self._began: float | None = None  # when turns last came, by the clock of this thread's CPU

    def __repr__(self) -> str:
        return f"Turns({len(self._waiting)} waiting, {self._at_once} at once)"

    async def __aenter__(self) -> None:
        """Wait for a turn; none comes within the iteration in which it is wanted."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._come)
        await turn
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    def _come(self) -> None:
        """Let as many go on as the last ones say there is time for."""
        now = time.thread_time()
        if self._began is not None and now - self._began >= ITERATION_SECONDS:
            self._at_once = max(1, self._at_once // 2)
        elif self._began is not None and self._came == self._at_once:
            self._at_once += 1
        self._came = min(self._at_once, len(self._waiting))
        for _ in range(self._came):
            turn = self._waiting.popleft()
            if not turn.done():  # its task may have been cancelled
                turn.set_result(None)
        self._began = now if self._waiting else None
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._come)
