"""The LLM boundary: one request in, one reply out. Everything that talks to a model is a `Client`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one request used: tokens as the provider counted them, `cost` in US dollars or None when unknown."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model.

    `messages` are chat messages (`{"role": ..., "content": ...}`), `schema` the JSON schema of the wanted document,
    `max_tokens` the cap on the reply. `metadata` is for clients that record or route; it is never sent.
    """

    messages: Sequence[Mapping[str, str]]
    schema: Mapping[str, Any]
    max_tokens: int = 1024
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a model.

    `text` is the JSON document as the model wrote it. `finish_reason` follows OpenAI's words ("stop", "length",
    "content_filter"). `latency` is in seconds; `quota` holds the provider's own rate-limit headers.
    """

    text: str
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    latency: float | None = None
    quota: Mapping[str, str] | None = None


@runtime_checkable
class Client(Protocol):
    """A model that answers requests. Raises `ClientError` and its kinds, nothing foreign.

    A client may also say more about itself, see `capabilities_of`: its `model`, `schema_per_ask` and `prices`.
    """

    async def complete(self, request: Request) -> Reply:
        """Answer one request; runs on the LLM loop."""
        ...

    async def aclose(self) -> None:
        """Release connections; the client may be used again afterwards."""
        ...
