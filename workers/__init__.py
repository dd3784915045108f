"""Does: runs one objective call somewhere and returns an outcome."""

from .coroutine import AsyncTrial, CoroutineWorkers, default_workers
from .dask import DaskWorkers
from .executor import ExecutorWorkers
from .process import ProcessWorkers
from .thread import ThreadWorkers, evaluate

__all__ = [
    "AsyncTrial",
    "CoroutineWorkers",
    "DaskWorkers",
    "ExecutorWorkers",
    "ProcessWorkers",
    "ThreadWorkers",
    "default_workers",
    "evaluate",
]
