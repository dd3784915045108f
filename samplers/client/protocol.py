"""The LLM boundary: one request in, one reply out. Everything that talks to a model is a `Client`.

A client may also say more about itself: its model, and what its tokens cost.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
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

    A client may also say more about itself, see `capabilities_of`: its `model` and `prices`.
    """

    async def complete(self, request: Request) -> Reply:
        """Answer one request; runs on the LLM loop."""
        ...

    async def aclose(self) -> None:
        """Release connections; the client may be used again afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars per prompt token and per completion token, both None where nobody knows.

    A reasoning model may complete `extra_tokens` beyond a request's `max_tokens`: its thoughts.
    """

    prompt: float | None = None
    completion: float | None = None
    extra_tokens: int = 0

    @property
    def known(self) -> bool:
        """Whether dollars can be counted."""
        return self.prompt is not None and self.completion is not None

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens; 0 where prices are unknown."""
        return prompt_tokens * (self.prompt or 0.0) + completion_tokens * (self.completion or 0.0)


async def unknown_prices() -> Prices:
    """The prices of a client that has none to tell."""
    return Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the rest of the library wants to know of a client.

    `model` names what answers: processes whose clients name the same model divide its rates. `prices` gives what tokens
    cost; it may take a while.
    """

    model: str
    prices: Callable[[], Awaitable[Prices]] = unknown_prices


def capabilities_of(client: object) -> Capabilities:
    """What a client says about itself.

    A wrapper has the attribute `capabilities`, those of the client inside it. Any other client may have `model`
    and `async def prices() -> Prices`; without them it stands for a model of its class's name.
    """
    own = getattr(client, "capabilities", None)
    if isinstance(own, Capabilities):
        return own
    return Capabilities(
        model=str(getattr(client, "model", type(client).__name__)),
        prices=getattr(client, "prices", unknown_prices),
    )
