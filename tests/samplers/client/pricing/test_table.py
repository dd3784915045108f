import pytest

from optuna_llm.samplers.client.pricing import prices_of
from optuna_llm.samplers.client.pricing.table import entry_of, priced_name
from optuna_llm.samplers.client.protocol import Prices


def priced(prompt: float, completion: float, suffix: str = "") -> dict[str, float]:
    return {f"input_cost_per_token{suffix}": prompt, f"output_cost_per_token{suffix}": completion}


TABLE = {
    "big": {"litellm_provider": "openai", **priced(2, 4), **priced(1, 2, "_flex"), **priced(3, 6, "_priority")},
    "small": {"litellm_provider": "openai", **priced(5, 6)},
    "claude-x-4-5": {"litellm_provider": "anthropic", **priced(7, 8)},
    "gemini/flash": {"litellm_provider": "gemini", **priced(9, 10)},
    "free": {"litellm_provider": "openai", **priced(0, 0)},
    "openrouter/a/own": {"litellm_provider": "openrouter", **priced(11, 12)},
    "a/own": {"litellm_provider": "a", **priced(13, 14)},
}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/big", "openai/big"),
        ("azure/big", None),
        ("openrouter/openai/big", "openai/big"),
        ("openrouter/anthropic/claude-x-4.5", "anthropic/claude-x-4-5"),
        ("openrouter/google/flash", "gemini/flash"),
        ("openrouter/a/own", "openrouter/a/own"),
        ("openrouter/openai/big:free", None),
        ("openrouter/meta-llama/llama", None),
        ("openai/free", None),
    ],
)
def test_a_model_that_openrouter_passes_on_is_priced_by_its_vendor(model: str, name: str | None) -> None:
    assert priced_name(model, TABLE) == name


@pytest.mark.parametrize(
    ("model", "tier", "prices"),
    [
        ("openai/big", None, Prices(prompt=2, completion=4)),
        ("openai/big", "auto", Prices(prompt=2, completion=4)),
        ("openai/big", "flex", Prices(prompt=1, completion=2)),
        ("openai/big", "priority", Prices(prompt=3, completion=6)),
        ("openrouter/openai/big", "flex", Prices(prompt=1, completion=2)),
        ("openai/small", "flex", Prices(prompt=5, completion=6)),
        ("openai/small", "priority", Prices()),
        ("openai/none", "flex", Prices()),
    ],
)
def test_a_tier_has_its_own_prices_and_one_that_is_not_priced_no_lower_bound(
    model: str, tier: str | None, prices: Prices
) -> None:
    assert prices_of(model, tier, TABLE) == prices


def test_an_entry_without_its_provider_is_not_taken_for_another_providers() -> None:
    assert entry_of("openai/big", TABLE) is TABLE["big"]
    assert not entry_of("groq/big", TABLE)


def test_writing_into_a_cache_counts_where_that_may_happen() -> None:
    table = {
        "big": {**TABLE["big"], "cache_creation_input_token_cost": 2.5, "cache_creation_input_token_cost_flex": 1.25}
    }
    assert prices_of("openai/big", None, table) == Prices(prompt=2, completion=4)
    assert prices_of("openai/big", None, table, writes=True) == Prices(prompt=2.5, completion=4)
    assert prices_of("openai/big", "flex", table, writes=True) == Prices(prompt=1.25, completion=2)
