from types import SimpleNamespace
from typing import Any

import pytest

from optuna_llm.samplers.client.pricing import cost_of
from optuna_llm.samplers.client.protocol import Prices

MODEL = "openai/big"


def litellm(standard: float = 1.0) -> Any:
    """A stand-in whose flex tier costs half of `standard`, for a prompt of any length."""
    entry = {"litellm_provider": "openai"} | {
        f"{kind}_cost_per_token{suffix}": standard * share
        for kind in ("input", "output")
        for suffix, share in (("", 1.0), ("_flex", 0.5))
    }

    def cost_per_token(*, model: str, usage_object: Any, service_tier: str | None) -> tuple[float, float]:
        assert model == MODEL
        return (0.5 if service_tier == "flex" else 1.0) * standard, 0.0

    return SimpleNamespace(model_cost={"big": entry}, cost_per_token=cost_per_token)


def response(**told: Any) -> Any:
    return SimpleNamespace(prompt_tokens=10, completion_tokens=5, **told)


def cost(usage: Any, *, model: str = MODEL, tier: str | None = None, own: Prices | None = None) -> float | None:
    return cost_of(usage, model, tier, own or Prices(), litellm())


def test_the_users_prices_come_before_the_servers_and_those_before_the_table() -> None:
    assert cost(response(cost=3.0), own=Prices(prompt=1.0, completion=2.0)) == 20.0
    assert cost(response(cost=3.0)) == 3.0
    assert cost(response(cost=0.0)) == 0.0
    assert cost(response()) == 1.0


@pytest.mark.parametrize("nonsense", [-1.0, True, "3", {"total_cost": 3.0}, None])
def test_a_cost_that_is_no_amount_of_dollars_is_not_believed(nonsense: Any) -> None:
    assert cost(response(cost=nonsense)) == 1.0
    assert cost(response(cost=nonsense), model="openai/unknown") is None


def test_with_a_key_of_ones_own_the_vendors_bill_comes_on_top() -> None:
    details = {"upstream_inference_cost": 2.0}
    assert cost(response(cost=0.1, is_byok=True, cost_details=details)) == pytest.approx(2.1)
    assert cost(response(cost=0.1, is_byok=False, cost_details=details)) == pytest.approx(0.1)


def test_a_tier_has_its_own_cost() -> None:
    assert cost(response(), tier="flex") == 0.5
    assert cost(response(), tier="default") == 1.0
