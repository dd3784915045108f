"""Where an objective runs if nobody says otherwise."""

from contextlib import AbstractContextManager, closing, nullcontext

from ..engine.arguments import is_coroutine_function
from ..engine.protocols import Workers
from ..engine.records import Objective
from .coroutine import CoroutineWorkers
from .thread import ThreadWorkers


def default_workers(objective: Objective) -> AbstractContextManager[Workers]:
    """The caller's loop for `async def` objectives; for plain functions threads, which end with the block."""
    return nullcontext(CoroutineWorkers()) if is_coroutine_function(objective) else closing(ThreadWorkers())
