"""An asyncio loop whose time stands still while anything can run, and jumps to the next timer when nothing can."""

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
