"""Define-by-run without a declared space: one trial at a time meets the parameters that nobody knows yet."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

# Seconds without a new parameter after which a leader's space is taken for complete: objectives suggest parameters at
# once, and then train for long. A name that comes later costs each trial that meets it one call.
SETTLE = 1.0

# Seconds between two looks at the study: the leader's trial may be told by another process, which notifies nobody.
POLL = 0.05


class Discovery:
    """Lets one trial lead and the others wait for the space that it meets.

    The wait ends when the leader's trial is told, when its thread is gone or is the one that waits, or when parameters
    are known and none was added for `settle` seconds: a long training does not hold up the other workers.
    """

    def __init__(self, settle: float = SETTLE, clock: Callable[[], float] = monotonic) -> None:
        self._changed = threading.Condition()  # guards the leader, the time of its last parameter, and `_meeting`
        self._settle = settle
        self._clock = clock
        self._leads: Callable[[], bool] = lambda: False  # whether the leader's trial is still under way
        self._thread: threading.Thread | None = None  # that discovers it, if it is one
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
        """Block until the caller leads (True), or parameters are known or the caller has `given_up` (False).

        `alive` tells whether the caller's own trial is still under way; `threaded`, that it is discovered by the
        thread that calls.
        """
        with self._changed:
            while not given_up():
                if known() and (self._free() or self._settled()):
                    return False
                if self._free():
                    self._leads, self._thread = alive, threading.current_thread() if threaded else None
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
        """Keep the space from settling for as long as a parameter is being asked for."""
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
        """Wake those that wait, to look whether the leader is still alive: a trial has ended."""
        with self._changed:
            self._changed.notify_all()

    def _settled(self) -> bool:
        return self._meeting == 0 and self._clock() - self._last_met >= self._settle

    def _free(self) -> bool:
        if not self._leads():
            return True
        thread = self._thread
        return thread is not None and (thread is threading.current_thread() or not thread.is_alive())
