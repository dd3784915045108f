"""The two threads of a run, storage calls on one, other samplers and callbacks on the other; and how long they try."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio
from optuna import Study

from ..errors import OptunaLLMError
from ..threads import JobThread, SharedJob
from .door import StudyDoor
from .snapshot import Snapshot

T = TypeVar("T")

LONGEST_BACKOFF: Final = 5.0  # seconds between attempts: a server that restarts is found soon, and not hammered

logger = logging.getLogger("optuna_llm.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a storage call is tried: `seconds` in all, the first pause being `first_pause` seconds, then doubling.

    A minute is longer than a database takes to fail over, and short enough for somebody who waits for the run.
    """

    first_pause: float = 0.1
    seconds: float = 60.0


class StorageTimeout(OptunaLLMError):
    """A storage failed, or did not answer, for as long as it is tried; `why` says which."""

    def __init__(self, doing: str, policy: RetryPolicy, last: Exception | None) -> None:
        self.why = "it did not answer" if last is None else f"the last error: {last!r}"
        super().__init__(f"the storage failed for {policy.seconds:g} s while {doing} ({self.why})")


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
        self.policy = policy or RetryPolicy()
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
        await self.retry("reading the study", self._read)
        return self.door.snapshot()

    async def store(
        self, doing: str, job: Callable[..., T], *args: Any, on: JobThread | None = None, **options: Any
    ) -> T:
        """Call `job` on the storage thread, or `on` another one, again while it raises; `options` are `retry`'s."""
        lane = on or self.storage
        return await self.retry(doing, lambda: lane.run(job, *args), **options)

    async def retry(
        self,
        doing: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        may_repeat: Callable[[Exception], bool] = lambda error: not isinstance(error, OptunaLLMError),
        shield: bool = False,
    ) -> T:
        """Await `attempt()` again while it raises and `may_repeat(error)`; `doing` names it in messages.

        This library's own errors would come again. `shield` keeps cancellation out until it ends. Raises what may not
        be repeated, and `StorageTimeout` once `policy.seconds` are over.
        """
        last: Exception | None = None
        pause = self.policy.first_pause
        with anyio.move_on_after(self.policy.seconds, shield=shield):
            while True:
                try:
                    return await attempt()
                except Exception as error:
                    if not may_repeat(error):
                        raise
                    last = error
                logger.warning("The storage failed while %s (%r); trying again in %.1f s", doing, last, pause)
                await anyio.sleep(pause)
                pause = min(LONGEST_BACKOFF, 2 * pause)
        raise StorageTimeout(doing, self.policy, last) from last
