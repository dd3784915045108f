"""Does: runs one objective call somewhere and returns an outcome."""

from .coroutine import AsyncTrial, CoroutineWorkers, default_workers
from .thread import ThreadWorkers

__all__ = ["AsyncTrial", "CoroutineWorkers", "ThreadWorkers", "default_workers"]
