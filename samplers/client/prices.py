"""What a client's tokens cost, where somebody knows it."""

from collections.abc import Mapping
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
