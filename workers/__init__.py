"""Does: runs one objective call somewhere and returns an outcome."""

from .async_trial import AsyncTrial
from .coroutine import CoroutineWorkers
from .default import default_workers
from .thread import ThreadWorkers

__all__ = ["AsyncTrial", "CoroutineWorkers", "ThreadWorkers", "default_workers"]
