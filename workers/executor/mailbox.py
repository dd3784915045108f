"""A folder that a run and its objectives see, on one machine or on a shared file system: what is said goes through it.

Each trial has two files, of which one side appends to one and reads the other. The run makes both, so nobody looks for
a file that is to come: file systems of a network remember for long what was not there. A file is opened for each
message, since these show what was written only once it was closed.
"""

import atexit
import os
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

# A message has its length and its checksum before it: a part of it, or a gap that is still to be filled, is no message.
HEAD: Final = struct.Struct("<II")

# Looks are apart by a tenth of the silence so far, so that waiting for the next one costs a trial a tenth of its time
# at most; in seconds, never less than the first of these, which is a look's own work several times over, nor more than
# the second, which nobody notices beside what takes so long.
SHARE: Final = 0.1
SHORTEST_PAUSE: Final = 0.002
LONGEST_PAUSE: Final = 0.5


def pause(silence: float) -> float:
    """Seconds until the next look, after so many seconds without a message."""
    return min(max(SHARE * silence, SHORTEST_PAUSE), LONGEST_PAUSE)


class Channel:
    """One file of messages. Whoever appends does not read; raises `OSError`, `FileNotFoundError` once it is removed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._read = 0  # bytes

    def append(self, message: bytes) -> None:
        """Add a message, for the other side to see at its next look."""
        left = HEAD.pack(len(message), zlib.crc32(message)) + message
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)

    def messages(self) -> list[bytes]:
        """Those that have come since the last look, as far as they are whole."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self._read)
            found = list(_whole(file.readall()))
        self._read += sum(HEAD.size + len(message) for message in found)
        return found

    def next_message(self, seconds: float) -> bytes | None:
        """Wait for a message, for so many seconds; None if none came. There is one at a time."""
        began = time.monotonic()
        while not (found := self.messages()):
            waited = time.monotonic() - began
            if waited > seconds:
                return None
            time.sleep(pause(waited))
        return found[0]

    @property
    def exists(self) -> bool:
        """Whether its file is still there."""
        return os.path.exists(self.path)

    def make(self) -> None:
        """Make its file, which nobody else may read."""
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def remove(self) -> None:
        """Remove its file, if that is there."""
        with suppress(OSError):
            os.unlink(self.path)


def _whole(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, at)
        message = data[at + HEAD.size : at + HEAD.size + length]
        if len(message) < length or zlib.crc32(message) != checksum:
            return
        yield message
        at += HEAD.size + length


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The files of one trial: its calls, and the answers. That there are no answers any more says that it is over."""

    calls: Channel
    answers: Channel

    def remove(self) -> None:
        """Remove both, and the folder that was made for them."""
        folder = os.path.dirname(self.calls.path)
        if _there.pop(folder, None) is not None:
            self.calls.remove()
            self.answers.remove()
            with suppress(OSError):
                os.rmdir(folder)


def new_letters(within: str | None) -> Letters:
    """The files of a trial, in a folder of their own that nobody else may enter; raises `OSError`.

    It is `within` another folder, or in this machine's for temporary files. Who makes them removes them. What is there
    when this process ends is removed by then, unless it is killed.
    """
    folder = tempfile.mkdtemp(prefix="optuna-llm-", dir=None if within is None else os.path.abspath(within))
    _there[folder] = os.getpid()
    letters = Letters(calls=Channel(os.path.join(folder, "calls")), answers=Channel(os.path.join(folder, "answers")))
    for channel in (letters.calls, letters.answers):
        channel.make()
    return letters


# What takes no message, and holds none: for a machine on which no file can be made.
NO_LETTERS: Final = Letters(calls=Channel(""), answers=Channel(""))

_there: dict[str, int] = {}  # folders, each with the process that made it: a fork has a copy of this


@atexit.register
def _remove_all() -> None:
    for folder, owner in list(_there.items()):
        if owner == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)
