"""What Optuna's journal file does not mend by itself: a torn last line, and a lock whose owner is dead.

The lock that a journal file has is put into one that looks after both. It stays the same lock for other processes:
same file, same rules; only what the file says of its owner is more.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import LOCK_FILE_SUFFIX, BaseJournalFileLock, get_lock_file

from ..process import Process, this_process

OWNER: Final = ".owner-"
TORN: Final = ".torn-"
RECORD: Final = b'{"op_code":'
MOST_OF_NAME: Final = 1000  # bytes
FIRST_DELAY: Final = 0.001
LONGEST_DELAY: Final = 0.02
SAY_AFTER: Final = 10.0  # seconds

logger = logging.getLogger("optuna_llm.engine")

_guarding = threading.Lock()


def guard_journal(storage: BaseStorage) -> None:
    """Have every write to a journal file, from now on, mend what a process that died in mid-write left behind."""
    backend = _file_backend(storage)
    if backend is None:
        return
    with _guarding:
        if not isinstance(backend._lock, MendingLock):
            backend._lock = MendingLock(backend._file_path, backend._lock)


def tidy_journal(storage: BaseStorage) -> None:
    """Mend all that dead processes left in a journal file, and remove what they left beside it."""
    backend = _file_backend(storage)
    if backend is None:
        return
    guard_journal(storage)
    with get_lock_file(backend._lock):
        mend_joined(backend._file_path)
    clear_dead(backend._file_path)


def _file_backend(storage: BaseStorage) -> JournalFileBackend | None:
    backend = getattr(storage, "_backend", None)
    return backend if isinstance(storage, JournalStorage) and isinstance(backend, JournalFileBackend) else None


class MendingLock(BaseJournalFileLock):
    """A journal file's lock that frees itself of a dead owner, and whose holder finds a file of whole lines."""

    def __init__(self, path: str, lock: BaseJournalFileLock) -> None:
        self._path = path
        self._file = path + LOCK_FILE_SUFFIX
        self._lock = lock
        links: dict[type, Callable[[str, str], None]]
        links = {JournalFileSymlinkLock: os.symlink, JournalFileOpenLock: os.link}
        self._link = links.get(type(lock))
        self._owner = ""

    def __repr__(self) -> str:
        return f"MendingLock({self._path!r}, {type(self._lock).__name__})"

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file."""
        if self._link is None or not self._acquired(self._link):
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

    def _acquired(self, link: Callable[[str, str], None]) -> bool:
        """Wait for the lock and take it in our own name; False where the file system has no such links."""
        patience = Patience(getattr(self._lock, "grace_period", None))
        while True:
            try:
                self._owner = owner_file(self._file, self._owner)
                link(self._owner, self._file)
                return True
            except FileExistsError:
                if free_of_dead(self._path):
                    continue
                if patience.is_over(self._file):
                    logger.warning("The lock %s was held for too long by nobody we know: it is taken", self._file)
                    with suppress(RuntimeError):  # somebody else took it at the same moment
                        self._lock.release()
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    return False
                raise
            patience.sleep()


class Patience:
    """How long a lock that never changes hands is waited for: `grace` seconds, or for ever if its owner lives."""

    def __init__(self, grace: float | None) -> None:
        self._grace = grace
        self._delay = FIRST_DELAY
        self._seen: tuple[int, int] | None = None
        self._since = self._said = time.monotonic()

    def is_over(self, lock: str) -> bool:
        """Look at the lock once more."""
        now = time.monotonic()
        if now - self._said > SAY_AFTER:
            self._said = now
            logger.warning("Waiting for the lock of a journal file, %s, for more than %.0f s", lock, SAY_AFTER)
        try:
            link = os.lstat(lock)
        except OSError:
            return False
        if self._seen != (link.st_ino, link.st_mtime_ns):
            self._seen, self._since = (link.st_ino, link.st_mtime_ns), now
            return False
        return self._grace is not None and now - self._since > self._grace and not is_alive(lock)

    def sleep(self) -> None:
        """Wait a little, and longer each time."""
        time.sleep(self._delay)
        self._delay = min(LONGEST_DELAY, 1.5 * self._delay)


def free_of_dead(path: str) -> bool:
    """Remove the lock of a journal file if its owner, of this host, is dead; says whether it did."""
    lock = path + LOCK_FILE_SUFFIX
    if is_alive(lock) is not False:
        return False
    with alone(path):
        if is_alive(lock) is not False:  # somebody was faster, and holds it now
            return False
        with suppress(FileNotFoundError):
            os.unlink(lock)
    logger.warning("The journal file %s was locked by a process that died: its lock was taken over", path)
    return True


def mend(path: str) -> None:
    """Make the last line of a journal file whole; the file's lock must be held.

    What was cut off in mid-write is moved to a file beside it: its author never heard that it was stored. A last line
    that lacks nothing but its end gets that.
    """
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0 or _byte(file, size - 1) == b"\n":
            return
        start = _start_of_line(file, size)
        file.seek(start)
        torn = file.read()
        if _is_record(torn):
            file.write(b"\n")
            logger.warning("The last line of the journal file %s lacked its end, and has it now", path)
        else:
            backup = _backup(path, start, torn)
            file.truncate(start)
            logger.warning(
                "The last line of the journal file %s was torn (a process died, or the disk was full, while it was "
                "written); the journal ends before it now, and its %d bytes are in %s",
                path,
                len(torn),
                backup,
            )
        file.flush()
        os.fsync(file.fileno())


def mend_joined(path: str) -> None:
    """Blank out torn beginnings of lines, which others have written on; the file's lock must be held.

    `optuna.create_study` writes before anybody can mend: its record then stands on a line with the torn one. Spaces
    before a record are no error, and nothing moves that others may be reading.
    """
    position = 0
    with open(path, "r+b") as file:
        for line in file:
            begin = line.rfind(RECORD)
            if begin > 0 and line[:begin].strip() and not _is_record(line) and _is_record(line[begin:]):
                backup = _backup(path, position, line[:begin])
                with open(path, "r+b", buffering=0) as other:
                    other.seek(position)
                    other.write(b" " * begin)
                    os.fsync(other.fileno())
                logger.warning(
                    "A line of the journal file %s began with a torn one: its %d bytes are in %s now",
                    path,
                    begin,
                    backup,
                )
            position += len(line)


def _backup(path: str, position: int, torn: bytes) -> str:
    backup = f"{path}{TORN}{position}-{uuid.uuid4().hex[:6]}"
    Path(backup).write_bytes(torn)
    return backup


def _start_of_line(file: Any, end: int, step: int = 4096) -> int:
    while end > 0:
        begin = max(0, end - step)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + int(found) + 1
        end = begin
    return 0


def _byte(file: Any, position: int) -> bytes:
    file.seek(position)
    found: bytes = file.read(1)
    return found


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


# -- who holds a lock: the file that it links to, or is, says so


def owner_file(lock: str, known: str = "") -> str:
    """The file that names this process; the lock becomes a link to it, so that lock and name appear at once.

    `known` is what this gave before. Its time is set anew, since others wait for a lock for as long as that changes.
    """
    owner = f"{os.path.abspath(lock)}{OWNER}{platform.node()}-{os.getpid()}"
    if owner == known:
        with suppress(FileNotFoundError):
            os.utime(owner)
            return owner
    me = this_process()
    unique = f"{owner}-{uuid.uuid4().hex[:6]}"
    Path(unique).write_text(json.dumps({"host": me.host, "pid": me.pid, "started": me.started}), encoding="utf-8")
    os.replace(unique, owner)
    atexit.register(_remove_own, owner, me.pid)
    return owner


def _remove_own(owner: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child inherits what is to be done at exit
        Path(owner).unlink(missing_ok=True)


def clear_dead(path: str) -> None:
    """Remove the files that name dead processes of this host, unless a lock stands in their name."""
    with alone(path):
        lock = path + LOCK_FILE_SUFFIX
        held = os.path.realpath(lock)
        for owner in Path(path).parent.glob(glob.escape(os.path.basename(lock)) + OWNER + "*"):
            if os.path.realpath(owner) != held and is_alive(str(owner)) is False:
                owner.unlink(missing_ok=True)


def is_alive(owner: str) -> bool | None:
    """Whether the owner that a lock names lives; None for one that names none, or one of another host."""
    try:
        with open(owner, "rb") as file:  # Optuna's own lock links to the journal itself, which may be long
            return Process(**json.loads(file.read(MOST_OF_NAME))).is_alive()
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def alone(path: str) -> Iterator[None]:
    """One process of this host at a time: who is dead on a host is only judged there."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
