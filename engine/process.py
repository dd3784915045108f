"""Identifies processes, and says whether one still lives, as far as this host can tell."""

import functools
import os
import platform
import subprocess
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

    def is_alive(self) -> bool | None:
        """Whether the process still runs; None if it is of another host, where we cannot look."""
        if self.host != this_host():
            return None
        return started(self.pid) == self.started


def this_process() -> Process:
    """The calling process; a forked child is another one."""
    pid = os.getpid()
    return Process(host=this_host(), pid=pid, started=started(pid) or "")


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
