"""Reads what a reply's headers say about the rate that is left; they only ever make us wait longer.

Read: `x-ratelimit-remaining-*` with `x-ratelimit-reset-*` (durations such as "1s" or "6m0s", or seconds), and
`anthropic-ratelimit-*-remaining` with `-reset` (RFC 3339 times), for requests and tokens.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ..client.header_values import number_in, seconds_in

# Quotas of a day reset later than this: a refusal will say so when it comes to that.
LONGEST_RESET_SECONDS: Final = 60.0

_KINDS: Final = ("requests", "tokens", "input-tokens", "output-tokens")
_NAMES: Final = (
    ("x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
    ("anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset"),
)


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
