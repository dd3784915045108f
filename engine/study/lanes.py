"""The two threads of a run, storage calls on one, other samplers and callbacks on the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna import Study

from ..threads import JobThread, SharedJob
from .door import StudyDoor
from .patience import RetryPolicy
from .snapshot import Snapshot

T = TypeVar("T")


@contextmanager
def stoppable(study: Study) -> Iterator[None]:
    """Allow `study.stop()` on this thread, and give samplers a fresh view of the trials on it.

    Blocks of several runs may overlap on one thread: the last one to end takes the permission back.
    """
    local: Any = study._thread_local
    depth = getattr(local, "optuna_llm_depth", 0)
    local.optuna_llm_depth = depth + 1
    local.in_optimize_loop, local.cached_all_trials = True, None
    try:
        yield
    finally:
        local.optuna_llm_depth -= 1
        local.in_optimize_loop = local.optuna_llm_depth > 0


class Lanes:
    """Owns both threads; use as a context manager.

    `study.stop()` is allowed on them. `read` is what a reading of the study does on the storage thread, `door.refresh`
    if it is not given. `policy` says for how long storage calls are retried.
    """

    def __init__(
        self, door: StudyDoor, *, read: Callable[[], object] | None = None, policy: RetryPolicy | None = None
    ) -> None:
        self.door = door
        self.patience = door.patience
        self.patience.policy = policy or self.patience.policy
        self.storage = JobThread("optuna-llm storage", stoppable(door.study))
        self.helper = JobThread("optuna-llm helper", stoppable(door.study))
        self._read = SharedJob(self.storage, read or door.refresh)

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.close()
        self.helper.close()

    async def refresh(self) -> Snapshot:
        """A reading of the study that begins after this call; callers of the same moment share one.

        Raises `OptunaLLMError` if the storage fails for long.
        """
        await self.retry_shared("reading the study", self._read)
        return self.door.snapshot()

    async def store(
        self, doing: str, job: Callable[..., T], *args: Any, on: JobThread | None = None, **options: Any
    ) -> T:
        """Call `job` on the storage thread, or `on` another one, again while it raises.

        `options` and errors are those of `Patience.retry`.
        """
        lane = on or self.storage
        return await self.patience.retry(doing, lambda: lane.submit(job, *args), **options)

    async def retry_shared(self, doing: str, job: SharedJob) -> None:
        """Wait for a job that many want done, again while it raises, as `store` does."""
        await self.patience.retry(doing, job.begin, cancel=False)
