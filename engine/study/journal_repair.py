"""Mends what Optuna's journal file does not mend by itself: a torn last line, and a lock whose owner is dead.

`MendingLock` wraps the lock of a journal file and looks after both. For other processes it stays the same lock: same
file, same rules; the file only says more about its owner.
"""

import errno
import json
import os
import threading
import uuid
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import LOCK_FILE_SUFFIX, BaseJournalFileLock, get_lock_file

from ..logs import counted, get_logger
from ..process import this_process
from .journal_owners import LockWait, clear_dead, owner_file, owner_of, release_dead, write_whole
from .patience import Patience, StorageGone

TORN_INFIX: Final = ".torn-"
RECORD_START: Final = b'{"op_code":'  # how Optuna's writer begins every line
MARK_BYTES: Final = 32  # the end of a record: all that is ever blanked out, by `mend_joined`, lies before it

# How Optuna's locks come to be; a lock of any other kind is taken as it is.
LINKS: Final[Mapping[type, Callable[[str, str], None]]] = {
    JournalFileSymlinkLock: os.symlink,
    JournalFileOpenLock: os.link,
}

logger = get_logger("optuna_llm.engine")

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


def patience_with(storage: BaseStorage, study: Hashable) -> Patience:
    """Patience that knows when a journal file is waited for, and when there is nothing to wait for."""
    check = partial(require_same_journal, storage)
    return Patience(study=study, held_up=partial(waits_for_the_living, storage), check=check)


def waits_for_the_living(storage: BaseStorage) -> bool:
    """Whether a thread of ours waits for a journal file's lock that a living process of this host holds.

    Such a process may be stopped for as long as its user likes. The storage itself is well.
    """
    lock = _mending_lock(storage)
    return lock is not None and lock.waits


def require_same_journal(storage: BaseStorage) -> None:
    """Raise `StorageGone` if a journal file was cut or replaced while we used it."""
    lock = _mending_lock(storage)
    if lock is not None:
        with suppress(OSError):
            lock.require_same_file()


def was_cut(storage: BaseStorage) -> bool:
    """Whether a journal file was seen to be cut or replaced."""
    lock = _mending_lock(storage)
    return lock is not None and lock.cut


def _mending_lock(storage: BaseStorage) -> "MendingLock | None":
    lock = getattr(getattr(storage, "_backend", None), "_lock", None)
    return lock if isinstance(lock, MendingLock) else None


def tidy_journal(storage: BaseStorage) -> None:
    """Mend all that dead processes left in a journal file, and remove the files they left beside it."""
    backend = guard_journal(storage)
    if backend is not None:
        with get_lock_file(backend._lock):
            mend_joined(backend._file_path)
        clear_dead(backend._file_path)


class MendingLock(BaseJournalFileLock):
    """A journal file's lock that frees itself of a dead owner, and whose holder finds a file of whole lines.

    The file only ever grows: one that was cut or replaced under this process is written no more.
    """

    def __init__(self, path: str, lock: BaseJournalFileLock) -> None:
        self._path = path
        self._file = path + LOCK_FILE_SUFFIX
        self._lock = lock
        self._link = LINKS.get(type(lock))
        self._owner = ""
        self._named = False  # whether the lock that we hold says that it is ours
        self._mark = Mark()
        # Both are written by the one thread that a storage lets in, and read by others.
        self.waits = False  # for a living owner
        self.cut = False  # the file was cut or replaced

    def __repr__(self) -> str:
        return f"MendingLock({self._path!r}, {type(self._lock).__name__})"

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file; raises `StorageGone` if it is not the file that it was."""
        self._named = self._link is not None and self._acquire_named(self._link)
        if not self._named:
            self._lock.acquire()
        try:
            self.require_same_file()
            mend(self._path)
            self._mark = mark_of(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let the next one in, unless the lock was taken from us while we stood still.

        A last line that is torn now is ours, and its author hears of it: it is dropped, or a full disk would fill with
        copies of it.
        """
        if self._named and owner_of(self._file) != this_process():
            return
        try:
            with suppress(OSError):
                if not is_whole(self._path):
                    os.truncate(self._path, self._mark.size)
                self._mark = mark_of(self._path)
        finally:
            self._lock.release()

    def require_same_file(self) -> None:
        """Raise `StorageGone` if the file does not hold what it held."""
        if self._mark.is_in(self._path):
            return
        self.cut = True
        what = f"the journal file {self._path} was cut or replaced while it was in use"
        raise StorageGone(
            f"{what}, so nothing more is written to it. End all that writes to it, and put a whole copy back; what "
            "this process knows of the study is in its log",
            why=f"because {what}",
        )

    def _acquire_named(self, link: Callable[[str, str], None]) -> bool:
        """Wait for the lock and take it in our name; False where the file system has no such links."""
        wait = LockWait(getattr(self._lock, "grace_period", None))
        try:
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
                    self.waits = wait.for_the_living
                except OSError as error:
                    if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                        return False
                    raise
                wait.sleep()
        finally:
            self.waits = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a journal file ended when this process last held its lock: its size, and the bytes before that."""

    size: int = 0
    end: bytes = b""

    def is_in(self, path: str) -> bool:
        """Whether the file still goes so far, with the same bytes there; others may have added to it."""
        with open(path, "rb") as file:
            return os.pread(file.fileno(), len(self.end), self.size - len(self.end)) == self.end


def mark_of(path: str) -> Mark:
    """Where a journal file ends now."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - MARK_BYTES)
        return Mark(size=size, end=os.pread(file.fileno(), size - start, start))


def mend(path: str) -> None:
    """Make the last line of a journal file whole; the file's lock must be held.

    A record that was cut off in mid-write is moved to a file beside the journal: its author was never told that it was
    stored. A record that lacks only its line end gets one.
    """
    if is_whole(path):
        return
    with open(path, "r+b") as file:
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
                "written): moved its %s to %s",
                path,
                counted(len(torn), "byte"),
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
                bytes_ = counted(begin, "byte")
                logger.warning("Moved %s of a torn line of the journal file %s to %s", bytes_, path, backup)
            position += len(line)


def _backup(path: str, position: int, torn: bytes) -> str:
    backup = f"{path}{TORN_INFIX}{position}-{uuid.uuid4().hex[:6]}"
    write_whole(backup, torn)
    return backup


def is_whole(path: str) -> bool:
    """Whether a journal file ends with a whole line, or is empty."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read() in (b"", b"\n")


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
