"""Retry a storage call with backoff for a bounded time, then raise `OptunaLLMError`."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio

from ..errors import OptunaLLMError

T = TypeVar("T")

LONGEST_PAUSE: Final = 5.0  # seconds between attempts: a server that restarts is found soon, and not hammered

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


def is_foreign(error: Exception) -> bool:
    """Whether an error is not this library's own, which would come again."""
    return not isinstance(error, OptunaLLMError)


async def retry(
    doing: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    may_repeat: Callable[[Exception], bool] = is_foreign,
    shield: bool = False,
) -> T:
    """Await `attempt()` again while it raises and `may_repeat(error)`; `doing` names it in messages.

    `shield` keeps cancellation out until it ends. Raises what may not be repeated, and `StorageTimeout` once
    `policy.seconds` are over.
    """
    last: Exception | None = None
    pause = policy.first_pause
    with anyio.move_on_after(policy.seconds, shield=shield):
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not may_repeat(error):
                    raise
                last = error
            logger.warning("The storage failed while %s (%r); trying again in %.1f s", doing, last, pause)
            await anyio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
    raise StorageTimeout(doing, policy, last) from last
