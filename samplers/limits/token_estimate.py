"""How many tokens a request will take: a generous guess at first, then what the model's replies have shown."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Final

from ..client.protocol import Request, Usage

TOKENS_PER_CHARACTER: Final = 0.4
SCHEMA_CHARACTERS: Final = 120
"""For each property of the schema."""

MESSAGE_BYTES: Final = 64
"""What a provider wraps around each message, at most."""

UNKNOWN: Final = 2000
"""Tokens of a request of which nothing is known; it is corrected before the request is sent."""

REPLIES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one request took."""

    ratio: float
    completion: int
    total: int


class Estimator:
    """Guesses high: what was too much is given back, what was too little has been sent already."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque(maxlen=REPLIES)

    def estimate(self, request: Request) -> int:
        """Prompt and completion tokens of one request."""
        if not self._seen:
            return round(size(request) * TOKENS_PER_CHARACTER) + request.max_tokens // 2
        ratio = max(seen.ratio for seen in self._seen)
        completion = max(seen.completion for seen in self._seen)
        return round(size(request) * ratio) + completion

    def typical(self) -> int:
        """Tokens of a request that is not written yet: as many as the largest of the last ones took."""
        return max((seen.total for seen in self._seen), default=UNKNOWN)

    def learn(self, request: Request, usage: Usage) -> None:
        """Take in what a request took."""
        total = usage.prompt_tokens + usage.completion_tokens
        ratio = usage.prompt_tokens / size(request)
        self._seen.append(_Seen(ratio=ratio, completion=usage.completion_tokens, total=total))


def size(request: Request) -> int:
    """Characters of the messages, and about as many as the schema has."""
    messages = sum(len(message["content"]) for message in request.messages)
    return messages + SCHEMA_CHARACTERS * (1 + len(request.schema.get("properties", ())))


def most_tokens(request: Request) -> int:
    """More prompt tokens than any tokenizer makes of the request: no token is less than a byte."""
    messages = sum(len(message["content"].encode()) + MESSAGE_BYTES for message in request.messages)
    return messages + len(json.dumps(request.schema).encode()) + MESSAGE_BYTES
