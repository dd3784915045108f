"""Mends what Optuna's journal file does not mend by itself: a torn last line, and a lock whose owner is dead.

`MendingLock` wraps the lock of a journal file and looks after both. For other processes it stays the same lock: same
file, same rules; the file only says more about its owner.
"""

import atexit
import errno
import fcntl
import glob
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import LOCK_FILE_SUFFIX, BaseJournalFileLock, get_lock_file

from ..process import Process, this_process

OWNER_INFIX: Final = ".owner-"
TORN_INFIX: Final = ".torn-"
RECORD_START: Final = b'{"op_code":'  # how Optuna's writer begins every line
MAX_OWNER_BYTES: Final = 1000  # an owner file is a tenth of that; Optuna's own lock links to the journal, which is long

# How Optuna's locks come to be; a lock of any other kind is taken as it is.
LINKS: Final[Mapping[type, Callable[[str, str], None]]] = {
    JournalFileSymlinkLock: os.symlink,
    JournalFileOpenLock: os.link,
}

# In seconds. Optuna's lock is held for a write, some milliseconds, and Optuna polls at the first of these.
FIRST_POLL: Final = 0.001
LONGEST_POLL: Final = 0.02
WARN_AFTER: Final = 10.0

logger = logging.getLogger("optuna_llm.engine")

_guarding = threading.Lock()  # invariant: a backend's lock is wrapped once


def guard_journal(storage: BaseStorage) -> JournalFileBackend | None:
    """Let every later write to a journal file mend what a process that died in mid-write left behind.

    Returns the file's backend, None for all other storages.
    """
    backend = getattr(storage, "_backend", None)
    if not (isinstance(storage, JournalStorage) and isinstance(backend, JournalFileBackend)):
        return None
    with _guarding:
        if not isinstance(backend._lock, MendingLock):
            backend._lock = MendingLock(backend._file_path, backend._lock)
    return backend


def tidy_journal(storage: BaseStorage) -> None:
    """Mend all that dead processes left in a journal file, and remove the files they left beside it."""
    backend = guard_journal(storage)
    if backend is not None:
        with get_lock_file(backend._lock):
            mend_joined(backend._file_path)
        clear_dead(backend._file_path)


class MendingLock(BaseJournalFileLock):
    """A journal file's lock that frees itself of a dead owner, and whose holder finds a file of whole lines."""

    def __init__(self, path: str, lock: BaseJournalFileLock) -> None:
        self._path = path
        self._file = path + LOCK_FILE_SUFFIX
        self._lock = lock
        self._link = LINKS.get(type(lock))
        self._owner = ""

    def __repr__(self) -> str:
        return f"MendingLock({self._path!r}, {type(self._lock).__name__})"

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file."""
        if self._link is None or not self._acquire_named(self._link):
            self._lock.acquire()
        try:
            mend(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let the next one in."""
        self._lock.release()

    def _acquire_named(self, link: Callable[[str, str], None]) -> bool:
        """Wait for the lock and take it in our name; False where the file system has no such links."""
        wait = LockWait(getattr(self._lock, "grace_period", None))
        while True:
            try:
                self._owner = owner_file(self._file, self._owner)
                link(self._owner, self._file)
                return True
            except FileExistsError:
                if release_dead(self._path):
                    continue
                if wait.is_over(self._file):
                    logger.warning("Took the lock %s: its owner is unknown, and held it for too long", self._file)
                    with suppress(RuntimeError):  # somebody else took it at the same moment
                        self._lock.release()
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    return False
                raise
            wait.sleep()


class LockWait:
    """Decides how long to wait for a lock that never changes hands: `grace` seconds, or for ever if its owner lives."""

    def __init__(self, grace: float | None) -> None:
        self._grace = grace
        self._poll = FIRST_POLL
        self._seen: tuple[int, int] | None = None
        self._since = self._warned = time.monotonic()

    def is_over(self, lock: str) -> bool:
        """Look at the lock once more; says whether the wait is over."""
        now = time.monotonic()
        if now - self._warned > WARN_AFTER:
            self._warned = now
            logger.warning("Waiting for the lock of a journal file, %s, for more than %.0f s", lock, WARN_AFTER)
        try:
            link = os.lstat(lock)
        except OSError:
            return False
        if self._seen != (link.st_ino, link.st_mtime_ns):
            self._seen, self._since = (link.st_ino, link.st_mtime_ns), now
            return False
        return self._grace is not None and now - self._since > self._grace and not is_alive(lock)

    def sleep(self) -> None:
        """Wait a little, longer each time."""
        time.sleep(self._poll)
        self._poll = min(LONGEST_POLL, 1.5 * self._poll)


def release_dead(path: str) -> bool:
    """Remove the lock of a journal file if its owner, of this host, is dead; says whether it did."""
    lock = path + LOCK_FILE_SUFFIX
    if is_alive(lock) is not False:
        return False
    with host_lock(path):
        if is_alive(lock) is not False:  # somebody was faster, and holds it now
            return False
        with suppress(FileNotFoundError):
            os.unlink(lock)
    logger.warning("Removed the lock of the journal file %s: the process that held it died", path)
    return True


def mend(path: str) -> None:
    """Make the last line of a journal file whole; the file's lock must be held.

    A record that was cut off in mid-write is moved to a file beside the journal: its author was never told that it was
    stored. A record that lacks only its line end gets one.
    """
    with open(path, "r+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() in (b"", b"\n"):
            return
        file.seek(0)
        before, line_end, torn = file.read().rpartition(b"\n")
        if _is_record(torn):
            file.write(b"\n")
            logger.warning("The last line of the journal file %s lacked its end: added it", path)
        else:
            start = len(before + line_end)
            backup = _backup(path, start, torn)
            file.truncate(start)
            logger.warning(
                "The last line of the journal file %s was torn (a process died, or the disk was full, while it was "
                "written): moved its %d bytes to %s",
                path,
                len(torn),
                backup,
            )
        file.flush()
        os.fsync(file.fileno())


def mend_joined(path: str) -> None:
    """Blank out the torn record at the start of a line that ends in a whole one; the file's lock must be held.

    `optuna.create_study` writes before anybody can mend, so that its record stands on the torn one's line. Spaces
    before a record are valid, and nothing moves that others may be reading.
    """
    position = 0
    with open(path, "r+b") as file:
        for line in file:
            begin = line.rfind(RECORD_START)
            if begin > 0 and line[:begin].strip() and not _is_record(line) and _is_record(line[begin:]):
                backup = _backup(path, position, line[:begin])
                os.pwrite(file.fileno(), b" " * begin, position)
                os.fsync(file.fileno())
                logger.warning("Moved %d bytes of a torn line of the journal file %s to %s", begin, path, backup)
            position += len(line)


def _backup(path: str, position: int, torn: bytes) -> str:
    backup = f"{path}{TORN_INFIX}{position}-{uuid.uuid4().hex[:6]}"
    Path(backup).write_bytes(torn)
    return backup


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


# -- the file that a lock links to, or is, names its owner


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
    Path(unique).write_text(json.dumps(asdict(this_process())), encoding="utf-8")
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
            if os.path.realpath(owner) != held and is_alive(str(owner)) is False:
                owner.unlink(missing_ok=True)


def is_alive(owner: str) -> bool | None:
    """Whether the owner that a file names lives; None if it names none, or one of another host."""
    try:
        with open(owner, "rb") as file:
            return Process(**json.loads(file.read(MAX_OWNER_BYTES))).is_alive()
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def host_lock(path: str) -> Iterator[None]:
    """Hold a lock that only processes of this host contend for: who is dead on a host is judged there alone."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
