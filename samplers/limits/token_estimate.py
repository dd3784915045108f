"""Estimates how many tokens a request will take: generously at first, then from what the model's replies took."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Final

from ..client.protocol import Request, Usage

# Prose takes about a quarter of a token for each character; tables of numbers take more.
TOKENS_PER_CHARACTER: Final = 0.4

# Characters that a property adds to the schema as it is sent: its name, type, bounds and description.
CHARACTERS_PER_PROPERTY: Final = 120

# Bytes that a provider wraps around a message, at most: role markers and separators.
BYTES_PER_MESSAGE: Final = 64

# Tokens of a request that is not written yet, before any reply; corrected before the request is sent.
TOKENS_AT_FIRST: Final = 2000

# So many replies are remembered: enough for the largest of some waves of workers, few enough to follow the history.
REPLIES_REMEMBERED: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    """What one request took; `ratio`: prompt tokens per character."""

    ratio: float
    completion: int
    total: int


class Estimator:
    """Estimates high: tokens that were not needed can be given back, a request that was sent cannot."""

    def __init__(self) -> None:
        self._recent: deque[_Spent] = deque(maxlen=REPLIES_REMEMBERED)

    def estimate(self, request: Request) -> int:
        """Prompt and completion tokens of one request."""
        if not self._recent:
            return round(size(request) * TOKENS_PER_CHARACTER) + request.max_tokens // 2
        ratio = max(one.ratio for one in self._recent)
        completion = max(one.completion for one in self._recent)
        return round(size(request) * ratio) + completion

    def typical(self) -> int:
        """Tokens of a request that is not written yet: those of the largest remembered one."""
        return max((one.total for one in self._recent), default=TOKENS_AT_FIRST)

    def learn(self, request: Request, usage: Usage) -> None:
        """Remember what a request took."""
        total = usage.prompt_tokens + usage.completion_tokens
        ratio = usage.prompt_tokens / size(request)
        self._recent.append(_Spent(ratio=ratio, completion=usage.completion_tokens, total=total))


def size(request: Request) -> int:
    """Characters of the messages and, roughly, of the schema."""
    messages = sum(len(message["content"]) for message in request.messages)
    return messages + CHARACTERS_PER_PROPERTY * (1 + len(request.schema.get("properties", ())))


def most_tokens(request: Request) -> int:
    """An upper bound of the prompt tokens of a request: no token is less than a byte."""
    messages = sum(len(message["content"].encode()) + BYTES_PER_MESSAGE for message in request.messages)
    return messages + len(json.dumps(request.schema).encode()) + BYTES_PER_MESSAGE
