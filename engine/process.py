"""Identifies processes, says whether one still lives, as far as this host can tell, and ends those that strayed."""

import functools
import os
import platform
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of one host: its pid, and when it began, because pids are used again.

    `host` names the machine as it was booted, and its container: pids mean nothing beyond.
    """

    host: str
    pid: int
    started: str

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this host."""
        return self.host == this_host()

    def is_alive(self) -> bool | None:
        """Whether the process still runs; None if we cannot look: it is of another host, or hidden from us."""
        if not self.is_here:
            return None
        began = started(self.pid)
        if began is None:
            return None if _exists(self.pid) else False
        return began == self.started if self.started else None


def this_process() -> Process:
    """The calling process; a forked child is another one."""
    pid = os.getpid()
    return Process(host=this_host(), pid=pid, started=started(pid) or "")


class ending_forked_children:  # noqa: N801 - it reads as a function, and a generator would be slower
    """End a process that is forked inside this block when it leaves it, with the exit code of what it leaves it by.

    The threads and the loop that would go on are the parent's: a child that came back would wait for ever, or would
    work on the parent's study as if it were the parent.
    """

    __slots__ = ("_parent",)

    def __enter__(self) -> None:
        self._parent = os.getpid()

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        if os.getpid() != self._parent:
            _exit(error)


def _exit(error: BaseException | None) -> None:
    """End this process as an interpreter would, but without what its parent has registered for its own end."""
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    if error is not None and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif not (code is None or isinstance(code, int)):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


@functools.cache
def this_host() -> str:
    """Name of the machine, of its boot and of its pid namespace, as far as the system tells."""
    return ":".join([platform.node(), _text("/proc/sys/kernel/random/boot_id")[:8], _pid_namespace()])


def started(pid: int) -> str | None:
    """When a process of this host began, as an opaque text; None if there is no such process, or it is a zombie."""
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()  # a name may hold spaces and brackets
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _exists(pid: int) -> bool:
    """Whether a process of which `started` tells nothing is there all the same: /proc may hide those of other users."""
    if _text(f"/proc/{pid}/stat"):
        return False  # a zombie
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _started_by_ps(pid: int) -> str | None:
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def _pid_namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid").removeprefix("pid:[").removesuffix("]")
    return ""


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return ""
