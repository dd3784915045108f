"""Processes that a test has started, through whatever."""

import time
from pathlib import Path


def ends(number: float | str, seconds: float = 10.0) -> bool:
    """Whether a process ends; it may be of another parent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{int(number)}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
