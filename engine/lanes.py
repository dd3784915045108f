"""The two threads of a run: storage calls on one, other samplers and callbacks on the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from .history import Snapshot
from .insisting import insist
from .study import StudyDoor, stoppable
from .threads import JobThread, wait_future

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Owns both threads; use as a context manager."""

    def __init__(self, door: StudyDoor) -> None:
        self.door = door
        self.storage = JobThread("optuna-llm storage")
        self.helper = JobThread("optuna-llm helper")
        self._reading: _Reading | None = None

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

    async def _read(self) -> None:
        reading = self._reading
        if reading is None or reading.begun:
            reading = self._reading = _Reading(self.door)
            reading.future = self.storage.submit(reading)
        await wait_future(reading.future, cancel=False)


class _Reading:
    """One reading to come; whoever arrives after it has begun needs the next one."""

    future: Future[Snapshot]

    def __init__(self, door: StudyDoor) -> None:
        self._door = door
        self.begun = False

    def __call__(self) -> Snapshot:
        self.begun = True
        return self._door.refresh()
