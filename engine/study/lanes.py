"""The two threads of a run: storage calls on one, other samplers and callbacks on the other."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from ..threads import JobThread, wait_future
from .door import StudyDoor
from .optuna_internals import stoppable
from .retrying import RetryPolicy, retry
from .snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Owns both threads; use as a context manager.

    `read` is what a reading of the study does on the storage thread, `door.refresh` if it is not given. `policy` says
    for how long storage calls are retried.
    """

    def __init__(
        self, door: StudyDoor, *, read: Callable[[], object] | None = None, policy: RetryPolicy | None = None
    ) -> None:
        self.door = door
        self.policy = policy or RetryPolicy()
        self.storage = JobThread("optuna-llm storage")
        self.helper = JobThread("optuna-llm helper")
        self._read = SharedJob(self.storage, read or door.refresh)

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.close()
        self.helper.close()

    def stoppable(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `job` where `study.stop()` is allowed."""
        with stoppable(self.door.study):
            return job(*args, **kwargs)

    async def refresh(self) -> Snapshot:
        """A reading of the study that begins after this call; callers of the same moment share one.

        Raises `OptunaLLMError` if the storage fails for long.
        """
        await self.retry("reading the study", self._read)
        return self.door.snapshot()

    async def store(self, doing: str, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `job` on the storage thread, again while it raises; `doing` names it in messages."""
        return await self.retry(doing, lambda: self.storage.run(job, *args, **kwargs))

    async def retry(self, doing: str, attempt: Callable[[], Awaitable[T]], **options: Any) -> T:
        """`retrying.retry` with this run's policy."""
        return await retry(doing, attempt, policy=self.policy, **options)


class SharedJob:
    """A job that many want done at once: callers of the same moment share one run of it, that begins after the call."""

    def __init__(self, thread: JobThread, job: Callable[[], object]) -> None:
        self._thread = thread
        self._job = job
        self._next: Future[object] | None = None

    async def __call__(self) -> None:
        """Wait for the end of such a run, and raise what it raises."""
        if self._next is None or self._next.running() or self._next.done():  # begun: it may have read too early
            self._next = self._thread.submit(self._job)
        await wait_future(self._next, cancel=False)
