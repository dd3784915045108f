"""Where an objective runs if nobody says otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.arguments import is_coroutine_function
from ..engine.protocols import Workers
from ..engine.records import Objective
from .coroutine import CoroutineWorkers
from .thread import ThreadWorkers


@contextmanager
def default_workers(objective: Objective) -> Iterator[Workers]:
    """The caller's loop for `async def` objectives; for plain functions threads, which end with the block."""
    if is_coroutine_function(objective):
        yield CoroutineWorkers()
        return
    threads = ThreadWorkers()
    try:
        yield threads
    finally:
        threads.close()
