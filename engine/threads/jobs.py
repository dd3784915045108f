"""A thread that runs jobs in order."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

from .waiting import wait_future

T = TypeVar("T")
P = ParamSpec("P")


class JobThread:
    """One daemon thread; jobs run one at a time, in the order they were submitted, all of them inside `within`."""

    def __init__(self, name: str, within: AbstractContextManager[object] | None = None) -> None:
        self._within = within or nullcontext()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "alive" if self._thread.is_alive() else "closed"
        return f"JobThread({self._thread.name!r}, {state}, {self._jobs.qsize()} queued)"

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue `job(*args)`; cancelling the future drops it unless it has begun."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = job(*args, **kwargs)
            except BaseException as error:  # carried to whoever waits, KeyboardInterrupt included
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(run)
        return future

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Queue `job(*args)` and await its result."""
        return await wait_future(self.submit(job, *args, **kwargs))

    def close(self) -> None:
        """End the thread after the jobs that are queued; does not wait."""
        self._jobs.put(None)

    def _work(self) -> None:
        with self._within:
            while (job := self._jobs.get()) is not None:
                job()
                del job  # an idle thread holds on to no study


class SharedJob:
    """A job that many want done at once: callers of the same moment share one run of it, that begins after the call."""

    def __init__(self, thread: JobThread, job: Callable[[], object]) -> None:
        self._thread = thread
        self._job = job
        self._next: Future[object] | None = None

    def begin(self) -> Future[object]:
        """Such a run; others may wait for the same one, so nobody may cancel it."""
        if self._next is None or self._next.running() or self._next.done():  # begun: it may have read too early
            self._next = self._thread.submit(self._job)
        return self._next
