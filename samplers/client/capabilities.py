"""What a client says about itself, beside answering: one record, which every wrapper passes on as it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .prices import Prices


async def unknown_prices() -> Prices:
    """The prices of a client that has none to tell."""
    return Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the rest of the library wants to know of a client.

    `model` names what answers: processes whose clients name the same model divide its rates. `schema_per_ask` says that
    a new schema with every request costs nothing. `prices` gives what tokens cost; it may take a while.
    """

    model: str
    schema_per_ask: bool = True
    prices: Callable[[], Awaitable[Prices]] = unknown_prices


def capabilities_of(client: object) -> Capabilities:
    """What a client says about itself.

    A wrapper has the attribute `capabilities`, those of the client inside it. Any other client may have `model`,
    `schema_per_ask` and `async def prices() -> Prices`; without them it stands for a model of its class's name.
    """
    own = getattr(client, "capabilities", None)
    if isinstance(own, Capabilities):
        return own
    return Capabilities(
        model=str(getattr(client, "model", type(client).__name__)),
        schema_per_ask=bool(getattr(client, "schema_per_ask", True)),
        prices=getattr(client, "prices", unknown_prices),
    )
