"""Reads the values of HTTP headers that say how long to wait: numbers, durations, and dates of two styles."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DATE_STYLES: Final[tuple[Callable[[str], datetime], ...]] = (datetime.fromisoformat, parsedate_to_datetime)


def number_in(value: str | None) -> float | None:
    """A finite number, else None."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def seconds_in(value: str | None, now: datetime) -> float | None:
    """Seconds, at least 0, of a number or a duration such as "6m0s", or until an RFC 3339 or 9110 time; else None."""
    seconds = number_in(value)
    if seconds is None and value:
        parts = _PART.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        else:
            seconds = _seconds_until(value, now)
    return None if seconds is None else max(0.0, seconds)


def _seconds_until(date: str, now: datetime) -> float | None:
    for parse in _DATE_STYLES:
        try:
            then = parse(date)
        except ValueError:
            continue
        return (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds()
    return None
