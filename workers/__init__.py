"""Does: runs one objective call somewhere and returns an outcome."""

from .async_trial import AsyncTrial
from .coroutine import CoroutineWorkers
from .optimize import optimize_async
from .thread import ThreadWorkers

__all__ = ["AsyncTrial", "CoroutineWorkers", "ThreadWorkers", "optimize_async"]
