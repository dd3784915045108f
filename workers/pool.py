"""What `ProcessWorkers` holds in one process of the run: slots, idle processes, threads that talk to processes."""

import os
import threading
import weakref
from typing import Any

import cloudpickle

from ..engine.errors import THIS_RUN, UsageError, about
from ..engine.foreign_text import summary
from ..engine.records import Call
from ..engine.threads import JobThread
from .slots import Slots
from .worker_process import WorkerProcess


class Pool:
    """Slots, and what waits for the next trial; used by runs on any threads. Its threads end with it.

    `period` counts how often it was closed: what was taken in an earlier one does not come back. The lock's invariant:
    all that is idle was put there in this period.
    """

    def __init__(self, count: int) -> None:
        self.pid = os.getpid()
        self.slots = Slots(count)
        self.pickles = Pickles()
        self.period = 0
        self._lock = threading.Lock()
        self._processes: dict[int, WorkerProcess] = {}
        self._threads: list[JobThread] = []
        weakref.finalize(self, _close_all, self._threads).atexit = False

    @property
    def idle(self) -> int:
        """How many processes wait for a trial."""
        return len(self._processes)

    def process(self, slot: int) -> WorkerProcess | None:
        """Take the idle process of a slot."""
        with self._lock:
            return self._processes.pop(slot, None)

    def keep(self, slot: int, process: WorkerProcess, period: int) -> bool:
        """Have a process wait for the next trial of its slot; False if the pool was closed since `period`."""
        with self._lock:
            if period == self.period:
                self._processes[slot] = process
            return period == self.period

    def thread(self) -> JobThread:
        """Take an idle thread, or a new one."""
        with self._lock:
            return self._threads.pop() if self._threads else JobThread("optuna-llm worker process")

    def give_back(self, slot: int, thread: JobThread, period: int) -> None:
        """A trial has ended: its thread and its slot are free."""
        with self._lock:
            if period == self.period:
                self._threads.append(thread)
            else:
                thread.close()
        self.slots.give(slot)

    def close(self) -> None:
        """End what is idle, and let end what is not, once it is."""
        with self._lock:
            self.period += 1
            processes = list(self._processes.values())
            self._processes.clear()
            _close_all(self._threads)
        for process in processes:
            process.end()


class Pickles:
    """Objectives, each pickled once a run: a run sees what is around its objective as it was when it began.

    The lock's invariant: one thread pickles, so that all trials of a run have the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_runs: weakref.WeakKeyDictionary[JobThread, tuple[Any, bytes]] = weakref.WeakKeyDictionary()

    def known(self, call: Call) -> bytes | None:
        """The objective of a call, if it is pickled already; waits for nobody."""
        known = self._of_runs.get(call.lane)  # each run has its own lane
        return known[1] if known is not None and known[0] is call.objective else None

    def of(self, call: Call) -> bytes:
        """The objective of a call, pickled; raises `UsageError` if it cannot be."""
        with self._lock:
            if (known := self.known(call)) is not None:
                return known
            with about(THIS_RUN):
                pickled = _pickled(call.objective)
            self._of_runs[call.lane] = call.objective, pickled
            return pickled


def _pickled(objective: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(objective))
    except Exception as error:
        name, why = getattr(objective, "__qualname__", objective), summary(error)
        raise UsageError(
            f"the objective {name!r} cannot be sent to another process: {why}. "
            "Make what it uses inside it, or run it in threads"
        ) from error


def _close_all(threads: list[JobThread]) -> None:
    while threads:
        threads.pop().close()
