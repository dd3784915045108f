"""Who holds the lock of a journal file: the file that the lock links to, or is, names its owner."""

import atexit
import fcntl
import glob
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from optuna.storages.journal._file import LOCK_FILE_SUFFIX

from ..logs import get_logger
from ..process import Process, this_process

OWNER_INFIX: Final = ".owner-"
MAX_OWNER_BYTES: Final = 1000  # an owner file is a tenth of that; Optuna's own lock links to the journal, which is long

# In seconds. Optuna's lock is held for a write, some milliseconds, and Optuna polls at the first of these.
FIRST_POLL: Final = 0.001
LONGEST_POLL: Final = 0.02
WARN_AFTER: Final = 10.0

logger = get_logger("optuna_llm.engine")


class LockWait:
    """Decides how long to wait for a lock that never changes hands: `grace` seconds, or for ever if its owner lives."""

    def __init__(self, grace: float | None) -> None:
        self.for_the_living = False  # whether a living process of this host holds it, as last seen
        self._grace = grace
        self._poll = FIRST_POLL
        self._seen: tuple[int, int] | None = None
        self._since = self._warned = time.monotonic()

    def is_over(self, lock: str) -> bool:
        """Look at the lock once more; says whether the wait is over."""
        now = time.monotonic()
        owner = owner_of(lock)
        # one that we cannot see, of another user, holds a lock all the same
        self.for_the_living = owner is not None and owner.is_here and owner.is_alive() is not False
        if now - self._warned > WARN_AFTER:
            self._warned = now
            logger.warning(
                "Waiting for the lock of a journal file, %s, for more than %.0f s%s",
                lock,
                WARN_AFTER,
                f": process {owner.pid} holds it, and lives; if it is stopped, let it go on or end it"
                if owner is not None and self.for_the_living
                else "",
            )
        try:
            link = os.lstat(lock)
        except OSError:
            return False
        if self._seen != (link.st_ino, link.st_mtime_ns):
            self._seen, self._since = (link.st_ino, link.st_mtime_ns), now
            return False
        return self._grace is not None and now - self._since > self._grace and not self.for_the_living

    def sleep(self) -> None:
        """Wait a little, longer each time."""
        time.sleep(self._poll)
        self._poll = min(LONGEST_POLL, 1.5 * self._poll)


def release_dead(path: str) -> bool:
    """Remove the lock of a journal file if its owner, of this host, is dead; says whether it did."""
    lock = path + LOCK_FILE_SUFFIX
    if not is_dead(lock):
        return False
    with host_lock(path):
        if not is_dead(lock):  # somebody was faster, and holds it now
            return False
        with suppress(FileNotFoundError):
            os.unlink(lock)
    logger.warning("Removed the lock of the journal file %s: the process that held it died", path)
    return True


def owner_file(lock: str, known: str = "") -> str:
    """Write the file that names this process; the lock becomes a link to it, so that lock and name appear at once.

    `known` is what an earlier call returned. Its time is set anew: others wait for as long as that changes.
    """
    owner = f"{os.path.abspath(lock)}{OWNER_INFIX}{platform.node()}-{os.getpid()}"
    if owner == known:
        with suppress(FileNotFoundError):
            os.utime(owner)
            return owner
    unique = f"{owner}-{uuid.uuid4().hex[:6]}"
    write_whole(unique, json.dumps(asdict(this_process())).encode())
    os.replace(unique, owner)
    atexit.register(_remove_own, owner, os.getpid())
    return owner


def _remove_own(owner: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child inherits the exit handlers
        Path(owner).unlink(missing_ok=True)


def clear_dead(path: str) -> None:
    """Remove the files that name dead processes of this host, unless the lock links to them."""
    with host_lock(path):
        lock = path + LOCK_FILE_SUFFIX
        held = os.path.realpath(lock)
        for owner in Path(path).parent.glob(glob.escape(os.path.basename(lock)) + OWNER_INFIX + "*"):
            if os.path.realpath(owner) != held and is_dead(str(owner)):
                owner.unlink(missing_ok=True)


def owner_of(file: str) -> Process | None:
    """The owner that a file names; None if it names none."""
    try:
        with open(file, "rb") as opened:
            return Process(**json.loads(opened.read(MAX_OWNER_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


def is_dead(file: str) -> bool:
    """Whether the owner that a file names was of this host, and is no more."""
    owner = owner_of(file)
    return owner is not None and owner.is_alive() is False


@contextmanager
def host_lock(path: str) -> Iterator[None]:
    """Hold a lock that only processes of this host contend for: who is dead on a host is judged there alone."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(path: str, content: bytes) -> None:
    """Write a file, or leave none."""
    try:
        Path(path).write_bytes(content)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
