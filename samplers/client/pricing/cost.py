"""What one reply cost."""

from typing import Any

from ..protocol import Prices
from .table import priced_name, prices_of


def cost_of(usage: Any, model: str, tier: str | None, own: Prices, litellm: Any) -> float | None:
    """US dollars for the usage of LiteLLM's response, None where nobody knows.

    By the user's `own` prices, else what the server says, else by the table for the `model` that was asked for (a local
    server may answer under any name), in the `tier` that served it.
    """
    if own.known:
        return own.usd(usage.prompt_tokens, usage.completion_tokens or 0)
    told = _told(usage)
    return _by_table(usage, model, tier, litellm) if told is None else told


def _told(usage: Any) -> float | None:
    """The cost that the server tells, as OpenRouter does; with a key of one's own, its vendor's bill on top."""
    cost = _dollars(getattr(usage, "cost", None))
    if cost is None or not getattr(usage, "is_byok", False):
        return cost
    details = getattr(usage, "cost_details", None)
    upstream = details.get("upstream_inference_cost") if isinstance(details, dict) else None
    return cost + (_dollars(upstream) or 0.0)


def _dollars(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _by_table(usage: Any, model: str, tier: str | None, litellm: Any) -> float | None:
    name = priced_name(model, litellm.model_cost)
    if name is None or not prices_of(model, tier, litellm.model_cost).known:
        return None
    try:
        prompt, completion = litellm.cost_per_token(model=name, usage_object=usage, service_tier=tier)
    except Exception:  # litellm raises a bare Exception for a model without a price
        return None
    return float(prompt + completion)
