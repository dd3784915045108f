"""Two asyncio loops whose time tests own.

`JumpingLoop`: time stands still while anything can run, and jumps to the next timer when nothing can; for code that
waits for nothing but timers. `PushedLoop`: real time, which a test may push forward; for code that waits for threads.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


TICK = 1e-9  # seconds


class _Jumping(selectors.DefaultSelector):
    loop: "JumpingLoop"

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everything waits, and no timer is set: a deadlock"
            # Whoever is woken a rounding error early, as by aiolimiter, sets a timer anew and must see time go on.
            self.loop.now += timeout or (0.0 if self.loop.has_work else TICK)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """Seconds cost nothing."""

    def __init__(self) -> None:
        selector = _Jumping()
        self.now = 1000.0
        selector.loop = self
        super().__init__(selector)

    @property
    def has_work(self) -> bool:
        """Whether any callback is ready to run."""
        return bool(self._ready)  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a jumping loop."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()


class PushedLoop(asyncio.SelectorEventLoop):
    """An hour passes at once, when the test says so."""

    def __init__(self) -> None:
        self.pushed = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.pushed


def run_pushed(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop that `push` moves forward."""
    with asyncio.Runner(loop_factory=PushedLoop) as runner:
        return runner.run(main)


def push(seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Let so much time pass on the running loop, or, from another thread, on `loop`."""
    pushed = asyncio.get_running_loop() if loop is None else loop
    assert isinstance(pushed, PushedLoop)
    pushed.pushed += seconds
    pushed.call_soon_threadsafe(bool)  # it may be waiting for the next timer, by its old time


async def turns(count: int) -> None:
    """Let everything that is ready run, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
