"""Reads what a reply's headers say about the rate that is left; they only ever make us wait longer.

Read: `x-ratelimit-remaining-*` with `x-ratelimit-reset-*` (durations such as "1s" or "6m0s", or seconds), and
`anthropic-ratelimit-*-remaining` with `-reset` (RFC 3339 times), for requests and tokens.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
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


def pause_wanted(quota: Mapping[str, str], tokens: int, now: datetime | None = None) -> float:
    """Seconds until a request of `tokens` tokens fits what the provider says is left; 0 if it does."""
    longest = 0.0
    for remaining_name, reset_name in _NAMES:
        for kind in _KINDS:
            remaining = _number(quota.get(remaining_name.format(kind)))
            needed = 1 if kind == "requests" else tokens
            if remaining is not None and remaining < needed:
                longest = max(longest, _seconds(quota.get(reset_name.format(kind), ""), now or datetime.now(UTC)))
    return longest if longest <= LONGEST_RESET_SECONDS else 0.0


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _seconds(reset: str, now: datetime) -> float:
    """Seconds until `reset`: a number of seconds, a duration or a time; 0 for anything else."""
    seconds = _number(reset)
    if seconds is not None:
        return max(0.0, seconds)
    parts = _PART.findall(reset)
    if parts and "".join(number + unit for number, unit in parts) == reset:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        then = datetime.fromisoformat(reset)
    except ValueError:
        return 0.0
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
