"""Evaluations that take no time here, in the order in which they would end if they took theirs.

A table answers at once, and a run whose evaluations take no time has nothing in flight. `Simulation` gives every
evaluation its own seconds on a simulated clock: an objective waits until all workers are busy, and then the one that
would end first is let go. Its worker asks next, at that simulated time, with the others still in flight; the proposal
is there after the model's measured latency. So a run of W workers meets the history that it would have met in earnest,
and its simulated wall-clock is what it would have taken.

What is left out: while a model thinks about one proposal, no other evaluation ends (of those which would, the next ask
knows more than it would have known by one configuration), and the latency of a proposal that failed.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import anyio

STALL_SECONDS = 10.0
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When a trial was asked for, began and ended, in simulated seconds."""

    asked: float
    began: float
    ended: float


class Simulation:
    """The clock of one run. `wanted` is how many evaluations are to come in all.

    `busy` says whether a proposal is being computed: if none is, and nothing has happened for `STALL_SECONDS` of real
    time, whoever would end first is let go although workers are free (asking has ended early).
    """

    def __init__(self, workers: int, wanted: int, *, start: float = 0.0, busy: Callable[[], bool] = bool) -> None:
        self._free = [start] * workers
        self._left = wanted
        self._busy = busy
        self._order = 0
        self._waiting: list[tuple[float, int, anyio.Event]] = []
        self._moved = 0.0
        heapq.heapify(self._free)

    async def spend(self, latency: float, seconds: float) -> Times:
        """One evaluation, `latency` after its worker was free; returns when it has ended on the simulated clock."""
        asked = heapq.heappop(self._free) if self._free else 0.0
        times = Times(asked=asked, began=asked + latency, ended=asked + latency + seconds)
        released = anyio.Event()
        self._order += 1
        self._left -= 1
        self._moved = anyio.current_time()
        heapq.heappush(self._waiting, (times.ended, self._order, released))
        try:
            self._advance()
            waits = True
            while waits:  # at least once, so that those which end before it go on before it
                with anyio.move_on_after(POLL_SECONDS):
                    await released.wait()
                waits = not released.is_set()
                if waits and self._stalled():
                    self._release()
        except BaseException:  # cancelled: it holds nobody up
            self._waiting = [entry for entry in self._waiting if entry[2] is not released]
            heapq.heapify(self._waiting)
            raise
        return times

    def _advance(self) -> None:
        """Let the first one go once no worker can begin another."""
        if not self._free or self._left <= 0:
            self._release()

    def _release(self) -> None:
        if self._waiting:
            ended, _, released = heapq.heappop(self._waiting)
            heapq.heappush(self._free, ended)
            self._moved = anyio.current_time()
            released.set()
            if self._left <= 0:
                self._advance()

    def _stalled(self) -> bool:
        return not self._busy() and anyio.current_time() - self._moved > STALL_SECONDS
