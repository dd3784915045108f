"""Reads prices in LiteLLM's table, which is handed over: this folder never imports LiteLLM.

The name of the model decides, also behind an `api_base` of one's own: a gateway to a provider costs what the provider
does, and Azure has no other addresses. Who runs a free server under a provider's name gives prices of 0.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..protocol import PRICE_NAMES, Prices

Table = Mapping[str, Mapping[str, Any]]

# LiteLLM's name of the price of a prompt token that is written into a cache.
WRITE_PRICE_NAME: Final = "cache_creation_input_token_cost"

OPENROUTER: Final = "openrouter/"

# Of OpenRouter's vendors, those that LiteLLM's table calls otherwise.
_VENDORS: Final = {
    "google": "gemini",
    "mistralai": "mistral",
    "moonshotai": "moonshot",
    "qwen": "dashscope",
    "x-ai": "xai",
    "z-ai": "zai",
}

# OpenRouter's variants that are routed by price or speed among hosts: what they cost, only the reply says.
_VARIANT: Final = ":"

# Tiers that are cheaper than the standard one: where the table has no price of theirs, that one bounds them.
_CHEAP: Final = ("flex",)
_STANDARD: Final = (None, "auto", "default", "standard", "standard_only", "on_demand")


def entry_of(model: str, table: Table) -> Mapping[str, Any]:
    """What the table says of a model, whether it writes the name with the provider or without; empty if nothing."""
    provider, _, name = model.partition("/")
    own = table.get(name, {})
    return table.get(model) or (own if own.get("litellm_provider") == provider else {})


def priced_name(model: str, table: Table) -> str | None:
    """The name whose prices hold for a model: its own, or its vendor's where OpenRouter passes it on; None: unknown."""
    return next((name for name in _names(model) if _prices(entry_of(name, table), "").known), None)


def prices_of(model: str, tier: str | None, table: Table, *, writes: bool = False) -> Prices:
    """The most that a token costs in a service tier; unknown for a dearer tier that the table has no prices of.

    `writes`: prompt tokens may be written into a cache, which may cost more than to read them.
    """
    name = priced_name(model, table)
    entry = {} if name is None else entry_of(name, table)
    standard = _prices(entry, "", writes=writes)
    if tier in _STANDARD:
        return standard
    own = _prices(entry, f"_{tier}", writes=writes)
    return standard if tier in _CHEAP and not own.known else own


def _names(model: str) -> Iterator[str]:
    yield model
    if model.startswith(OPENROUTER) and _VARIANT not in model:
        vendor, _, name = model.removeprefix(OPENROUTER).partition("/")
        provider = _VENDORS.get(vendor, vendor)
        yield f"{provider}/{name}"
        yield f"{provider}/{name.replace('.', '-')}"  # Anthropic's own names have no dots


def _prices(entry: Mapping[str, Any], suffix: str, *, writes: bool = False) -> Prices:
    """The prices of one tier; a prompt that costs nothing is the table's way to say that it does not know."""
    prompt, completion = (entry.get(name + suffix) for name in PRICE_NAMES)
    if not prompt or completion is None:
        return Prices()
    write = entry.get(WRITE_PRICE_NAME + suffix, entry.get(WRITE_PRICE_NAME)) if writes else None
    return Prices(prompt=max(prompt, write or 0.0), completion=completion)
