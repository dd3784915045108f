"""A storage that fails is tried again, for a bounded time; then somebody hears of it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from ..errors import OptunaLLMError

T = TypeVar("T")

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
STORAGE_SECONDS: Final = 60.0
"""How long a storage may fail, or not answer, before the run ends and says so."""

logger = logging.getLogger("optuna_llm.engine")


async def insist(what: str, attempt: Callable[[], Awaitable[T]], *, may_repeat: Callable[[], bool] = lambda: True) -> T:
    """Make a storage call, again and again while it raises and `may_repeat`; `what` names it in messages.

    Raises this library's own errors at once, and `OptunaLLMError` once the storage has failed, or not answered, for
    `STORAGE_SECONDS`.
    """
    last: Exception | None = None
    delay = FIRST_DELAY
    with anyio.move_on_after(STORAGE_SECONDS):
        while True:
            try:
                return await attempt()
            except OptunaLLMError:
                raise
            except Exception as error:
                if not may_repeat():
                    raise
                last = error
            logger.warning("The storage failed while %s (%r); trying again in %.1f s", what, last, delay)
            await anyio.sleep(delay)
            delay = min(LONGEST_DELAY, 2 * delay)
    why = "it did not answer" if last is None else f"the last error: {last!r}"
    raise OptunaLLMError(f"the storage failed for {STORAGE_SECONDS:g} s while {what} ({why})") from last
