"""What a client's tokens cost, where somebody knows it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .protocol import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars per prompt token and per completion token.

    `extra_tokens` may be completed beyond a request's `max_tokens`: the thoughts of a reasoning model.
    """

    prompt: float
    completion: float
    extra_tokens: int = 0


@runtime_checkable
class Priced(Protocol):
    """A client that knows what it costs."""

    async def prices(self) -> Prices | None:
        """The prices, None if they are unknown."""
        ...


async def prices_of(client: Client) -> Prices | None:
    """The prices of a client, None if they are unknown."""
    return await client.prices() if isinstance(client, Priced) else None
