"""Runs objectives on an executor: `workers` at the run, `host` where objectives are, a `mailbox` between them."""

from .workers import ExecutorWorkers

__all__ = ["ExecutorWorkers"]
