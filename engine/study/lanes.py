"""The two threads of a run: storage calls on one, other samplers and callbacks on the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from ..threads import JobThread, wait_future
from .door import StudyDoor, stoppable
from .retrying import insist
from .snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Owns both threads; use as a context manager."""

    def __init__(self, door: StudyDoor) -> None:
        self.door = door
        self.storage = JobThread("optuna-llm storage")
        self.helper = JobThread("optuna-llm helper")
        self._read = Shared(self.storage, door.refresh)

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
        await insist("reading the study", self._read)
        return self.door.ledger.snapshot()


class Shared:
    """A job that many want done at once: callers of the same moment share one run of it, that begins after the call."""

    def __init__(self, lane: JobThread, job: Callable[[], object]) -> None:
        self._lane = lane
        self._job = job
        self._next: _Once | None = None

    async def __call__(self) -> None:
        """Wait for the end of such a run, and raise what it raises."""
        once = self._next
        if once is None or once.begun:
            once = self._next = _Once(self._job)
            once.future = self._lane.submit(once)
        await wait_future(once.future, cancel=False)


class _Once:
    """One run to come; whoever arrives after it has begun needs the next one."""

    future: Future[object]

    def __init__(self, job: Callable[[], object]) -> None:
        self._job = job
        self.begun = False

    def __call__(self) -> object:
        self.begun = True
        return self._job()
