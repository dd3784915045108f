"""Threads that run jobs in order, and what it takes to await them, and to be reached by them, on any anyio loop."""

from .jobs import JobThread, SharedJob
from .loops import on_this_loop, outside_of_loops, runs_loop
from .mailbox import mailbox_of
from .waiting import Shield, done_event, result_of, settled, unwrapped, wait_future

__all__ = [
    "JobThread",
    "SharedJob",
    "Shield",
    "done_event",
    "mailbox_of",
    "on_this_loop",
    "outside_of_loops",
    "result_of",
    "runs_loop",
    "settled",
    "unwrapped",
    "wait_future",
]
