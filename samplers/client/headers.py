"""Reads what HTTP headers say about waiting: after a refusal, and for the rate that is left after a reply.

Rates: `x-ratelimit-remaining-*` with `x-ratelimit-reset-*` (durations such as "1s" or "6m0s", or seconds), and
`anthropic-ratelimit-*-remaining` with `-reset` (RFC 3339 times), for requests and tokens. They only ever make us wait
longer.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

# Quotas of a day reset later than this: a refusal will say so when it comes to that.
LONGEST_RESET_SECONDS: Final = 60.0

_KINDS: Final = ("requests", "tokens", "input-tokens", "output-tokens")
_NAMES: Final = (
    ("x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
    ("anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset"),
)

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


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date, RFC 9110)."""
    milliseconds = number_in(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    return seconds_in(headers.get("retry-after"), now)


def pause_wanted(quota: Mapping[str, str], tokens: int, now: datetime | None = None) -> float:
    """Seconds until a request of `tokens` tokens fits what the provider says is left; 0 if it does."""
    longest = 0.0
    for remaining_name, reset_name in _NAMES:
        for kind in _KINDS:
            remaining = number_in(quota.get(remaining_name.format(kind)))
            needed = 1 if kind == "requests" else tokens
            if remaining is not None and remaining < needed:
                seconds = seconds_in(quota.get(reset_name.format(kind)), now or datetime.now(UTC))
                longest = max(longest, seconds or 0.0)
    return longest if longest <= LONGEST_RESET_SECONDS else 0.0
