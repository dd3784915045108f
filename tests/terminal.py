"""A program on a terminal of its own, as a person runs it: what it writes is read, keys are pressed."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CTRL_C: Final = b"\x03"
PATIENCE: Final = 120.0  # seconds; only so that a program that hangs does not hold up all tests


def command(*words: str) -> list[str]:
    """A command line of `optuna-llm`."""
    return [sys.executable, "-m", "optuna_llm.cli", *words]


class Terminal:
    """Runs one program in the foreground of a new terminal; `text` is all that it has written so far."""

    def __init__(self, words: Sequence[str], *, folder: Path) -> None:
        self._words = words
        self._folder = folder
        self.text = ""

    def __enter__(self) -> Self:
        self._keys, inside = pty.openpty()
        # The program leads a session of which this is the terminal: Ctrl-C is a signal then, as in a window.
        self._process = subprocess.Popen(
            self._words,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._keys)

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until a text has been written so often."""
        deadline = time.monotonic() + PATIENCE
        while self.text.count(text) < times:
            assert self._read(deadline), f"{text!r} never came, but:\n{self.text}"

    def ended(self) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Take in what comes next; False where nothing does any more."""
        if not select.select([self._keys], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            piece = os.read(self._keys, 4096)
        except OSError:  # what Linux says once nobody is left on the other side
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)
