"""What a reply says about itself, as far as it can be true.

Servers, and functions in their place, count in odd ways: below zero, in words, by the billion. What cannot be true is
unknown: a budget then takes the worst case, and a rate what was estimated.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, Final

from ..client.protocol import Reply, Request, Usage

# No model reads or writes so many tokens for one request, and none costs so many US dollars.
MOST_TOKENS: Final = 10_000_000
MOST_DOLLARS: Final = 10_000.0

BOOLEANS: Final[tuple[type, ...]] = (bool,)  # numbers in Python, and no amounts

# The longest reply that a model of today gives, thoughts included.
LONGEST_COMPLETION: Final = 131_072

# Tokens of the prompts that providers and gateways add on their own.
HIDDEN_PROMPT: Final = 8192

# Bytes that a provider wraps around a message, at most: role markers and separators.
BYTES_PER_MESSAGE: Final = 64


def credible(reply: Reply) -> Reply:
    """The reply, less what it cannot truly say about itself."""
    return replace(
        reply,
        text=reply.text if isinstance(reply.text, str) else "",
        model=_words(reply.model),
        finish_reason=_words(reply.finish_reason),
        usage=_usage(reply.usage),
        latency=_amount(reply.latency, math.inf),
        quota=_quota(reply.quota),
    )


def within_reason(request: Request, usage: Usage) -> Usage:
    """The part of a usage that a rate can depend on: no prompt has more tokens than bytes, but for what is hidden."""
    return replace(
        usage,
        prompt_tokens=min(usage.prompt_tokens, most_tokens(request) + HIDDEN_PROMPT),
        completion_tokens=min(usage.completion_tokens, LONGEST_COMPLETION),
    )


def most_tokens(request: Request) -> int:
    """An upper bound of the prompt tokens of a request: no token is less than a byte."""
    messages = sum(len(message["content"].encode()) + BYTES_PER_MESSAGE for message in request.messages)
    return messages + len(json.dumps(request.schema).encode()) + BYTES_PER_MESSAGE


def _usage(usage: Any) -> Usage | None:
    prompt, completion, cached, written = (
        _amount(getattr(usage, name, None), MOST_TOKENS)
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "written_tokens")
    )
    if prompt is None or completion is None:
        return None
    read = min(cached or 0, prompt)
    return Usage(
        prompt_tokens=math.ceil(prompt),
        completion_tokens=math.ceil(completion),
        cached_tokens=int(read),
        written_tokens=int(min(written or 0, prompt - read)),  # no token is both
        cost=_amount(getattr(usage, "cost", None), MOST_DOLLARS),
    )


def _amount(value: Any, most: float) -> float | None:
    """The number, if something can have taken that much."""
    if not isinstance(value, Real) or isinstance(value, BOOLEANS):
        return None
    amount = float(value)
    return amount if 0 <= amount <= most and amount < math.inf else None


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _quota(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)} or None
