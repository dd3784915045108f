"""How a process of an executor ends with the run that started it, and lets the run end an objective in it."""

import functools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# Ends an objective. Whoever does not know it ignores it, so one that comes late, or to a child, does no harm.
INTERRUPT: Final = signal.SIGURG

# Seconds between two looks of a process of an executor at whether the process of the run still lives.
PARENT_SECONDS: Final = 0.5


@functools.cache
def belong_to(run: int) -> bool:
    """Have a process that the process of the run started end with it, and leave Ctrl-C to it; False for any other.

    An executor's own processes wait for their next call for ever when the process of the run is killed.
    """
    if os.getppid() != run:
        return False  # a daemon's, or a cluster's: these look after their own
    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(run,), name="optuna-llm parent", daemon=True).start()
    return True


def _end_with(run: int) -> None:
    while os.getppid() == run:
        time.sleep(PARENT_SECONDS)
    for folder in tuple(_left_by_the_dead):
        shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def removed_if_killed(folder: str) -> Iterator[None]:
    """Have a folder of the run removed by this process, if it belongs to the run and that is killed within."""
    _left_by_the_dead.add(folder)
    try:
        yield
    finally:
        _left_by_the_dead.discard(folder)


_left_by_the_dead: set[str] = set()


@contextmanager
def interruptible(over: Callable[[], bool]) -> Iterator[bool]:
    """Have `INTERRUPT` raise `KeyboardInterrupt` in this thread if the trial is `over()`.

    Says whether it does: Python handles signals in the main thread only, and a handler of somebody else stays.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(INTERRUPT) is not signal.SIG_DFL:
        yield False
        return

    def handle(*_: object) -> None:
        if over():
            raise KeyboardInterrupt("the run gave this trial up")

    signal.signal(INTERRUPT, handle)
    try:
        yield True
    finally:
        signal.signal(INTERRUPT, signal.SIG_DFL)
