"""Define-by-run without a declared space: one trial at a time meets the parameters that nobody knows yet."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

SETTLE = 1.0  # seconds without a new parameter after which a leader's space is taken for complete
POLL = 0.05


@dataclass(frozen=True, slots=True)
class _Leader:
    thread: threading.Thread | None
    alive: Callable[[], bool]


class Discovery:
    """Lets one trial lead and the others wait for the space that it meets.

    The wait ends when the leader's trial is told, when its thread is gone or is the one that waits, or when parameters
    are known and none was added for `settle` seconds: a long training does not hold up the other workers.
    """

    def __init__(self, settle: float = SETTLE, clock: Callable[[], float] = monotonic) -> None:
        self._changed = threading.Condition()  # guards the leader and the time of its last parameter
        self._settle = settle
        self._clock = clock
        self._leader: _Leader | None = None
        self._last_met = clock()
        self._meeting = 0

    def lead_or_wait(
        self,
        *,
        known: Callable[[], bool],
        alive: Callable[[], bool],
        threaded: bool,
        given_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Blocks; True if the caller leads now, False if parameters are known or the caller has `given_up`.

        `alive` tells whether the caller's own trial is still under way; `threaded`, that it is discovered by the
        thread that calls.
        """
        with self._changed:
            while not given_up():
                if known() and (self._free() or self._settled()):
                    return False
                if self._free():
                    self._leader = _Leader(threading.current_thread() if threaded else None, alive)
                    self._last_met = self._clock()
                    return True
                self._changed.wait(POLL)
            return False

    @property
    def busy(self) -> bool:
        """Whether a trial leads at this moment."""
        with self._changed:
            return not self._free()

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """A parameter is being asked for: however long that takes, the space has not settled meanwhile."""
        with self._changed:
            self._meeting += 1
        try:
            yield
        finally:
            with self._changed:
                self._meeting -= 1
                self._last_met = self._clock()
                self._changed.notify_all()

    def notify(self) -> None:
        """A trial ended or gave up: whoever waits looks again whether the leader is still alive."""
        with self._changed:
            self._changed.notify_all()

    def _settled(self) -> bool:
        return self._meeting == 0 and self._clock() - self._last_met >= self._settle

    def _free(self) -> bool:
        leader = self._leader
        if leader is None or not leader.alive():
            return True
        thread = leader.thread
        return thread is not None and (thread is threading.current_thread() or not thread.is_alive())
