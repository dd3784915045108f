"""The LLM boundary: one request in, one reply out. Everything that talks to a model is a `Client`.

A client may also say more about itself: its model, and what its tokens cost.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from ...engine.errors import UsageError

# LiteLLM's names of prices, in US dollars; in this order.
PRICE_NAMES: Final = ("input_cost_per_token", "output_cost_per_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one request used: tokens as the provider counted them, `cost` in US dollars or None when unknown.

    Of the prompt's tokens, `cached_tokens` came from the provider's cache, and `written_tokens` were billed as written
    into it.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    written_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model.

    `messages` are chat messages (`{"role": ..., "content": ...}`), `schema` the JSON schema of the wanted document,
    `max_tokens` the cap on the reply. `metadata` is for clients that record or route; it is never sent. `prefix_ends`
    are places in the first user message, in characters and ascending, up to which later requests will begin as this one
    does: for clients that can tell a provider what to cache.
    """

    messages: Sequence[Mapping[str, str]]
    schema: Mapping[str, Any]
    max_tokens: int = 1024
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    prefix_ends: Sequence[int] = ()


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

    It may also have a `model` (a name, for rate limits), `async def prices() -> Prices` and `async def warm_up()`.
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

    A model may complete `extra_tokens` beyond a request's `max_tokens`, as far as is known by now: its thoughts.
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


def prices_in(extra: Mapping[str, Any]) -> Prices:
    """The prices in a client's `extra`, under LiteLLM's names. Raises `UsageError` if only one is there."""
    values = [extra[name] for name in PRICE_NAMES if name in extra]
    if not values:
        return Prices()
    if len(values) < len(PRICE_NAMES) or not all(isinstance(value, int | float) and value >= 0 for value in values):
        raise UsageError(f"extra needs both {' and '.join(PRICE_NAMES)}, in US dollars per token, or neither")
    return Prices(prompt=float(values[0]), completion=float(values[1]))


async def nothing_to_warm_up() -> None:
    """The warm-up of a client that is ready from the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the rest of the library wants to know of a client.

    `model` names what answers: processes whose clients name the same model divide its rates. `prices` gives what tokens
    cost, and is asked before every request that a budget has to pay; the first time it may take a while. `warm_up` does
    what a first request would wait for. It is awaited before any request counts, so that those who wait for it do not
    leave together.
    """

    model: str
    prices: Callable[[], Awaitable[Prices]] = unknown_prices
    warm_up: Callable[[], Awaitable[None]] = nothing_to_warm_up


def capabilities_of(client: object) -> Capabilities:
    """What a client says about itself.

    A wrapper has the attribute `capabilities`, those of the client inside it. Any other client may have `model`,
    `async def prices() -> Prices` and `async def warm_up() -> None`; without a `model` it stands for one of its class's
    name.
    """
    own = getattr(client, "capabilities", None)
    if isinstance(own, Capabilities):
        return own
    return Capabilities(
        model=str(getattr(client, "model", type(client).__name__)),
        prices=getattr(client, "prices", unknown_prices),
        warm_up=getattr(client, "warm_up", nothing_to_warm_up),
    )
