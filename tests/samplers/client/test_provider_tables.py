"""The table of providers in the docs agrees with LiteLLM's own tables."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, completion

from optuna_llm import LiteLLMClient, Request, UsageError
from optuna_llm.samplers.client.library import load
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.protocol import PRICE_NAMES, Prices

PAGE = "docs/providers.md"
HOSTED = {"OpenAI", "Anthropic", "Gemini", "OpenRouter"}


def rows() -> Iterator[tuple[str, str, str, str]]:
    text = (Path(__file__).parents[3] / PAGE).read_text(encoding="utf-8")
    _, table = text.split("| provider | model string | key variable |", 1)
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            return
        name, model, key, base = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        yield name, model, key, base


@pytest.fixture(scope="module")
def litellm() -> Any:
    return load()


REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object", "properties": {}})


def test_every_provider_is_there() -> None:
    assert {name for name, *_ in rows()} >= HOSTED | {"Ollama", "vLLM", "llama.cpp", "LM Studio"}


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0])
def test_the_model_string_and_the_key_variable_are_litellms(
    row: tuple[str, str, str, str], litellm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, model, key, base = row
    for variable in [variable for variable in os.environ if variable.endswith(("_KEY", "_BASE"))]:
        monkeypatch.delenv(variable)
    provider = model.split("/")[0]
    assert provider in {str(getattr(known, "value", known)) for known in litellm.provider_list}
    missing = litellm.validate_environment(model)["missing_keys"]
    if name in HOSTED:
        assert key in missing
        assert not base
    else:
        assert key == "none"
        assert base.startswith("http://localhost:")
        assert provider == "openai" or not [wanted for wanted in missing if wanted.endswith("_KEY")]
    assert LiteLLMClient(model, api_base=base or None).model == model


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_hosted_models_of_the_table_have_prices(model: str) -> None:
    prices = run_sync(LiteLLMClient(model).prices)
    assert prices.known
    assert 0 < prices.usd(1, 0) < prices.usd(0, 1)


def test_prices_that_are_given_win_and_unknown_ones_are_none() -> None:
    extra = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0}
    assert run_sync(LiteLLMClient("openai/gpt-4o-mini", extra=extra).prices) == Prices(prompt=1.0, completion=2.0)
    assert run_sync(LiteLLMClient("openai/gpt-4o-mini").prices) == Prices(prompt=0.15e-6, completion=0.6e-6)
    assert not run_sync(LiteLLMClient("hosted_vllm/x").prices).known


@pytest.mark.parametrize("prices", [{"input_cost_per_token": 1.0}, {**dict.fromkeys(PRICE_NAMES, -1.0)}])
def test_prices_come_in_pairs_and_are_not_negative(prices: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="input_cost_per_token and output_cost_per_token"):
        LiteLLMClient("openai/x", extra=prices)


def test_the_prices_of_one_client_price_no_other_and_stay_here() -> None:
    with FaultServer(completion()) as server:

        def cost(**options: Any) -> float | None:
            client = LiteLLMClient("openai/gpt-4o-mini", api_base=server.url, api_key="k", **options)
            usage = run_sync(lambda: client.complete(REQUEST)).usage
            return usage.cost if usage else None

        assert cost(extra=dict.fromkeys(PRICE_NAMES, 1.0)) == 110.0
        assert cost() == pytest.approx(100 * 0.15e-6 + 10 * 0.6e-6)
        assert not [name for received in server.received for name in received.body if "cost" in name]


def test_thoughts_count_even_where_prices_are_unknown() -> None:
    own = LiteLLMClient("hosted_vllm/x")
    own.manner = replace(own._first_manner(), room=8192)  # as a reply that was cut in its thoughts has it
    assert run_sync(own.prices) == Prices(extra_tokens=8192)


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "hosted_vllm/gpt-4o-mini"])
def test_the_budget_and_the_record_know_the_same_price_of_a_gateway(model: str) -> None:
    with FaultServer(completion()) as server:
        client = LiteLLMClient(model, api_base=server.url, api_key="k")
        usage = run_sync(lambda: client.complete(REQUEST)).usage
        prices = run_sync(client.prices)
    assert usage is not None
    assert usage.cost == (pytest.approx(prices.usd(100, 10)) if prices.known else None)
    assert prices.known == model.startswith("openai/")


def test_the_cost_that_a_gateway_tells_is_the_cost() -> None:
    told = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "cost": 0.25}
    with FaultServer(completion(usage=told)) as server:
        client = LiteLLMClient("openrouter/openai/gpt-4o-mini", api_base=server.url, api_key="k")
        usage = run_sync(lambda: client.complete(REQUEST)).usage
    assert usage is not None
    assert usage.cost == 0.25


def test_a_tier_is_sent_priced_and_waited_for() -> None:
    client = LiteLLMClient("openai/gpt-5.4-mini", api_key="k", service_tier="flex")
    assert client.timeout == 900.0
    assert LiteLLMClient("openai/gpt-5.4-mini").timeout == 60.0
    with FaultServer(completion(service_tier="flex")) as server:
        here = LiteLLMClient("openai/gpt-5.4-mini", api_base=server.url, api_key="k", service_tier="flex")
        usage = run_sync(lambda: here.complete(REQUEST)).usage
        assert server.received[0].body["service_tier"] == "flex"
    flex, standard = run_sync(client.prices), run_sync(LiteLLMClient("openai/gpt-5.4-mini").prices)
    assert usage is not None
    assert usage.cost == pytest.approx(flex.usd(100, 10))
    assert 0 < flex.usd(100, 10) < standard.usd(100, 10)


@pytest.mark.parametrize("model", ["ollama_chat/qwen3", "anthropic/claude-sonnet-5"])
def test_a_provider_without_the_tier_is_not_asked(model: str) -> None:
    client = LiteLLMClient(model, api_base="http://localhost:1", api_key="k", service_tier="flex")
    with pytest.raises(UsageError, match="has no service_tier='flex'"):
        run_sync(lambda: client.complete(REQUEST))
