"""How long a storage that fails is tried, on an event loop and in an objective's thread, and what that counts as."""

import math
import time
import traceback
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import anyio
from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage

from ..errors import OptunaLLMError, about
from ..foreign_text import summary
from ..logs import get_logger
from ..threads import Shield, done_event, result_of

T = TypeVar("T")
P = ParamSpec("P")

LONGEST_BACKOFF: Final = 5.0  # seconds between attempts: a server that restarts is found soon, and not hammered
# In seconds. Who waits looks at the clock so often. More than the second of these between two looks is time in which
# this process stood still (Ctrl-Z, a paused container, a laptop's lid) or its clock jumped: nobody was asked then.
LOOK: Final = 1.0
LONGEST_LOOK: Final = 2.0
# A call on the caller's own thread cannot be looked at: however long one takes, there is more than one.
FEWEST_ATTEMPTS: Final = 3
# A storage raises these for what it is given, whoever calls: they would come again.
OF_THE_CALLER: Final = (OptunaLLMError, UpdateFinishedTrialError, TypeError, ValueError, LookupError)

logger = get_logger("optuna_llm.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a storage call is tried: `seconds` in all, the first pause being `first_pause` seconds, then doubling.

    A minute is longer than a database takes to fail over, and short enough for somebody who waits for the run.
    """

    first_pause: float = 0.1
    seconds: float = 60.0


class StorageGone(OptunaLLMError):
    """A storage takes nothing more; `why` continues a sentence that says what it did not take."""

    def __init__(self, message: str, *, why: str = "") -> None:
        super().__init__(message)
        self.why = why


class StorageTimeout(StorageGone):
    """A storage failed, or did not answer, for as long as it is tried."""


def is_away(error: BaseException) -> bool:
    """Whether a storage raised this, and not for what it was given: the same call may succeed later.

    Only the traceback says who raised: a pruner, or the user's own call, may raise the same types.
    """
    if not isinstance(error, Exception) or isinstance(error, OF_THE_CALLER):
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(isinstance(frame.f_locals.get("self"), BaseStorage) for frame in frames)


class AskedTime:
    """The seconds for which a storage was really asked, by looks at a monotonic clock.

    What passes while `held_up()` does not count: the storage then waits for a lock that a living process holds.
    """

    def __init__(self, now: float, held_up: Callable[[], bool]) -> None:
        self.seconds = 0.0
        self._last = now
        self._held_up = held_up

    def look(self, now: float, *, at_most: float = LONGEST_LOOK) -> None:
        """Add what passed since the last look, as far as it counts, but not more than `at_most`."""
        if not self._held_up():
            self.seconds += min(now - self._last, at_most)
        self._last = now


class Patience:
    """Tries storage calls again, as long as `policy` says; `held_up` is `AskedTime`'s.

    `check` is called after each failure, and raises `StorageGone` if there is nothing to wait for. Errors of this
    library are about `study`, given by its key.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        study: Hashable = None,
        held_up: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self._study = study
        self._held_up = held_up
        self._check = check

    def __repr__(self) -> str:
        return f"Patience({self.policy})"

    async def retry(
        self,
        doing: str,
        begin: Callable[[], Future[T]],
        *,
        may_repeat: Callable[[Exception], bool] = lambda error: not isinstance(error, OptunaLLMError),
        shield: bool = False,
        cancel: bool = True,
    ) -> T:
        """Await what `begin()` begins, again while it raises and `may_repeat(error)`; `doing` names it in messages.

        This library's own errors would come again. `shield` puts cancellation off until it has returned or raised.
        `cancel` drops what is given up before it was begun. Raises what may not be repeated, and `StorageTimeout` once
        the storage was asked for `policy.seconds`.
        """
        asked = AskedTime(anyio.current_time(), self._held_up)
        attempts = _Attempts(doing, self.policy)
        with about(self._study):
            with Shield(shield) as kept_out:
                while asked.seconds < self.policy.seconds:
                    future = begin()
                    try:
                        if not await self._answered(future, asked, kept_out):
                            break
                    finally:
                        if cancel:
                            future.cancel()
                    try:
                        return result_of(future)
                    except Exception as error:
                        if not may_repeat(error):
                            raise
                        self._check()
                        pause = attempts.failed(error)
                    await self._pause(pause, asked, kept_out)
            raise attempts.timeout() from attempts.last

    async def _answered(self, future: Future[Any], asked: AskedTime, kept_out: Shield) -> bool:
        done = done_event(future)
        while not done.is_set() and (left := self.policy.seconds - asked.seconds) > 0:
            with kept_out.waiting(min(LOOK, left)):
                await done.wait()
            asked.look(anyio.current_time())
        return future.done()

    async def _pause(self, seconds: float, asked: AskedTime, kept_out: Shield) -> None:
        for begun in range(math.ceil(seconds / LOOK) or 1):
            with kept_out.waiting():
                await anyio.sleep(min(LOOK, seconds - begun * LOOK))
            asked.look(anyio.current_time())

    def retry_here(self, doing: str, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `job` on this thread, which may wait, again while the storage behind it is away.

        Raises `StorageTimeout` in the end, and at once what is not the storage's.
        """
        asked = AskedTime(time.monotonic(), self._held_up)
        attempts = _Attempts(doing, self.policy)
        with about(self._study):
            while True:
                try:
                    return job(*args, **kwargs)
                except Exception as error:
                    if not is_away(error):
                        raise
                    self._check()
                    pause = attempts.failed(error)
                asked.look(time.monotonic(), at_most=self.policy.seconds / FEWEST_ATTEMPTS)
                if asked.seconds >= self.policy.seconds:
                    raise attempts.timeout() from attempts.last
                time.sleep(pause)

    def lend_to(self, trial: Trial) -> None:
        """Let the storage calls of a trial in a thread of its own be tried again."""
        trial.storage = _PatientStorage(trial.storage, self)  # type: ignore[assignment]
        for name in ("_suggest", "should_prune"):  # they read the study, past the trial's own storage
            doing = f"calling {name.strip('_')}"
            setattr(trial, name, partial(self.retry_here, doing, getattr(trial, name)))


class _Attempts:
    """The failed attempts of one call: what was last raised, and how long to pause."""

    def __init__(self, doing: str, policy: RetryPolicy) -> None:
        self.last: Exception | None = None
        self._doing, self._policy = doing, policy
        self._pause = policy.first_pause

    def failed(self, error: Exception) -> float:
        """Say what was raised; returns the pause before the next attempt, in seconds."""
        self.last, pause = error, self._pause
        self._pause = min(LONGEST_BACKOFF, 2 * pause)
        logger.warning("The storage failed while %s (%s); trying again in %.1f s", self._doing, summary(error), pause)
        return pause

    def timeout(self) -> StorageTimeout:
        reason = "it did not answer" if self.last is None else f"the last error: {summary(self.last)}"
        seconds = f"{self._policy.seconds:g} s"
        message = f"the storage failed for {seconds} while {self._doing} ({reason})"
        return StorageTimeout(message, why=f"within {seconds} ({reason})")


class _PatientStorage:
    """A storage whose calls are tried again, on the thread that calls."""

    def __init__(self, storage: Any, patience: Patience) -> None:
        self._storage = storage
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._storage, name)
        if not callable(member):
            return member
        return lambda *args, **kwargs: self._patience.retry_here(f"calling {name}", member, *args, **kwargs)
