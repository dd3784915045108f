"""What a client says about itself, beside answering: its model, and what its tokens cost."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...engine.errors import UsageError

PRICE_NAMES: Final = ("input_cost_per_token", "output_cost_per_token")


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


def prices_in(extra: Mapping[str, Any]) -> Prices:
    """The prices in a client's `extra`, under LiteLLM's names. Raises `UsageError` if only one is there."""
    values = [extra[name] for name in PRICE_NAMES if name in extra]
    if not values:
        return Prices()
    if len(values) < len(PRICE_NAMES) or not all(isinstance(value, int | float) and value >= 0 for value in values):
        raise UsageError(f"extra needs both {' and '.join(PRICE_NAMES)}, in US dollars per token, or neither")
    return Prices(prompt=float(values[0]), completion=float(values[1]))


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
