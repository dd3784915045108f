"""What providers are sent on each route, through LiteLLM itself, beside what their documents ask for."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from fault_server import FaultServer, Received, Scripted, completion, failure

from optuna_llm import LiteLLMClient, Reply, Request
from optuna_llm.samplers.client.library import load
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack

pytestmark = pytest.mark.usefixtures("real_litellm")

KEY = "sk-given-0123456789abcdef"
SCHEMA = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string", "description": "why"},
        "x": {"type": "number", "minimum": 0.0, "maximum": 2.0, "description": "0 to 2"},
        "c": {"type": "string", "enum": ["b", "a"]},
    },
    "required": ["rationale", "x", "c"],
    "additionalProperties": False,
}
KEYS = ["rationale", "x", "c"]
RULES = "rules"
BLOCKS = ("# Trials\n1,0.5\n2,0.6\n", "3,0.7\n4,0.8\n", "5,0.9\n\nPropose one.")
ENDS = (len(BLOCKS[0]), len(BLOCKS[0] + BLOCKS[1]))
MESSAGES = [{"role": "system", "content": RULES}, {"role": "user", "content": "".join(BLOCKS)}]
REQUEST = Request(messages=MESSAGES, schema=SCHEMA, seed=3, prefix_ends=ENDS)
AWS = {"aws_access_key_id": "AKIAABCDEFGHIJKLMNOP", "aws_secret_access_key": KEY, "aws_region_name": "us-east-1"}
ANTHROPICS = {"cache_control": {"type": "ephemeral"}}
OPENAIS = {"prompt_cache_breakpoint": {"mode": "explicit"}}


def sent_to(model: str, *script: Scripted, ending: str = "/v1", **options: Any) -> list[Received]:
    """What the server received for one ask, however often it was sent for it."""
    with FaultServer(*script) as server:
        client = LiteLLMClient(
            model, api_base=server.url.removesuffix("/v1") + ending, api_key=KEY, timeout=10, **options
        )
        stack = ClientStack(client, Limiter(), Account())
        run_sync(lambda: stack.calls().complete(REQUEST))
        return server.received


def body_of(model: str, **options: Any) -> dict[str, Any]:
    (received,) = sent_to(model, **options)
    assert KEY not in json.dumps(received.body)
    assert not {"metadata", "prefix_ends"} & received.body.keys()
    return dict(received.body)


def parts(*texts: str, mark: dict[str, Any]) -> list[dict[str, Any]]:
    """Text parts, of which all are marked but the last."""
    return [{"type": "text", "text": text, **(mark if text != BLOCKS[-1] else {})} for text in texts]


def marked_messages(mark: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": parts(RULES, mark=mark)},
        {"role": "user", "content": parts(*BLOCKS, mark=mark)},
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route in OpenAI's form: its messages, what caps the completion, how the seed is called."""

    model: str
    messages: list[dict[str, Any]]
    cap: str = "max_tokens"
    seed: str = "seed"
    ending: str = "/v1"
    extra: dict[str, Any] | None = None


ROUTES = [
    Route(model="openai/gpt-4o-mini", messages=MESSAGES),
    Route(model="openai/gpt-5-mini", messages=MESSAGES, cap="max_completion_tokens"),
    Route(
        model="openai/gpt-5.6-luna",
        messages=marked_messages(OPENAIS),
        cap="max_completion_tokens",
        extra={"prompt_cache_options": {"mode": "explicit"}},
    ),
    Route(model="azure/gpt-4o", messages=MESSAGES, ending="", extra={"api_version": "2024-10-21"}),
    Route(model="openrouter/anthropic/claude-sonnet-4.5", messages=marked_messages(ANTHROPICS)),
    Route(model="openrouter/openai/gpt-5-mini", messages=MESSAGES),
    Route(model="mistral/mistral-small-latest", messages=MESSAGES, seed="random_seed"),
    Route(model="deepseek/deepseek-chat", messages=MESSAGES),
    Route(model="hosted_vllm/any", messages=MESSAGES),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.model)
def test_a_route_in_openais_form(route: Route) -> None:
    body = body_of(route.model, ending=route.ending, extra=route.extra)
    assert body["messages"] == route.messages
    caps = {"max_tokens", "max_completion_tokens"} & body.keys()
    assert caps == {route.cap}
    assert body[route.cap] >= REQUEST.max_tokens
    assert body[route.seed] == 3
    wanted = body["response_format"]["json_schema"]
    assert wanted["strict"] is True
    assert wanted["schema"] == SCHEMA
    assert list(wanted["schema"]["properties"]) == KEYS
    assert "tools" not in body
    assert body.get("prompt_cache_options") == (route.extra or {}).get("prompt_cache_options")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.model)
def test_a_route_in_openais_form_is_asked_by_a_forced_call(route: Route) -> None:
    body = body_of(route.model, ending=route.ending, extra=route.extra, structured_output="tool")
    assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == KEYS
    assert "minimum" not in body["tools"][0]["function"]["parameters"]["properties"]["x"]


def test_openai_itself_is_told_that_our_marks_are_all(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    async def listen(**arguments: Any) -> Any:
        said.append(arguments)
        return load().ModelResponse(model="gpt-5.6", choices=[{"message": {"role": "assistant", "content": "{}"}}])

    monkeypatch.setattr(load(), "acompletion", listen)
    client = LiteLLMClient("openai/gpt-5.6", api_key=KEY, extra={"extra_body": {"user": "me"}})
    run_sync(lambda: client.complete(REQUEST))
    assert said[0]["extra_body"] == {"user": "me", "prompt_cache_options": {"mode": "explicit"}}
    assert said[0]["messages"] == marked_messages(ANTHROPICS)  # LiteLLM renames them, as the route above shows


def test_groq_is_asked_by_a_call_of_litellms_own_for_models_without_schemas() -> None:
    body = body_of("groq/llama-3.1-8b-instant")
    assert body["messages"] == MESSAGES
    assert body["max_tokens"] == REQUEST.max_tokens
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == KEYS
    assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]


def test_anthropic_gets_marks_a_schema_without_bounds_and_a_cap() -> None:
    body = body_of("anthropic/claude-sonnet-4-5", ending="")
    assert body["system"] == parts(RULES, mark=ANTHROPICS)
    assert body["messages"] == [{"role": "user", "content": parts(*BLOCKS, mark=ANTHROPICS)}]
    properties = body["output_format"]["schema"]["properties"]
    assert list(properties) == KEYS
    assert not {"minimum", "maximum"} & properties["x"].keys()
    assert body["max_tokens"] == REQUEST.max_tokens + 8192
    assert "seed" not in body


def test_anthropic_is_not_made_to_call_a_function_while_it_thinks() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    body = body_of("anthropic/claude-sonnet-4-5", ending="", structured_output="tool", extra=thinking)
    assert body["thinking"] == thinking["thinking"]
    assert body["tool_choice"] == {"type": "auto"}
    assert list(body["tools"][0]["input_schema"]["properties"]) == KEYS
    assert "calling the function" in body["messages"][0]["content"][-1]["text"]
    assert body["messages"][0]["content"][:-1] == parts(*BLOCKS, mark=ANTHROPICS)[:-1]


def test_openrouter_is_not_made_to_call_a_function_while_it_thinks() -> None:
    thinking = {"extra_body": {"reasoning": {"effort": "high"}}}
    body = body_of("openrouter/anthropic/claude-sonnet-4.5", structured_output="tool", extra=thinking)
    assert body["reasoning"] == {"effort": "high"}
    assert body["tool_choice"] == "auto"


def test_a_model_that_turns_out_to_think_is_asked_again_without_force() -> None:
    refusal = failure(400, "Thinking may not be enabled when tool_choice forces tool use.")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 2}'}}
    received = sent_to(
        "openrouter/anthropic/claude-sonnet-4.5",
        refusal,
        completion(None, message={"tool_calls": [call]}),
        structured_output="tool",
    )
    assert [one.body["tool_choice"] == "auto" for one in received] == [False, True]


def test_gemini_gets_strings_a_schema_in_order_and_its_own_names() -> None:
    body = body_of("gemini/gemini-2.5-flash", ending="")
    assert body["system_instruction"] == {"parts": [{"text": RULES}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "".join(BLOCKS)}]}]
    wanted = body["generationConfig"]
    assert wanted["max_output_tokens"] == REQUEST.max_tokens + 8192
    assert list(wanted["response_json_schema"]["properties"]) == KEYS  # Gemini keeps the order of JSON schemas
    assert wanted["response_mime_type"] == "application/json"


def test_gemini_is_told_the_order_of_a_functions_parameters() -> None:
    body = body_of("gemini/gemini-2.5-flash", ending="", structured_output="tool")
    assert body["tools"][0]["function_declarations"][0]["parameters"]["propertyOrdering"] == KEYS
    assert body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"


def test_ollama_gets_the_schema_as_its_format() -> None:
    body = body_of("ollama_chat/any", ending="")
    assert [message["content"] for message in body["messages"]] == [RULES, "".join(BLOCKS)]
    assert body["format"] == SCHEMA
    assert list(body["format"]["properties"]) == KEYS
    assert body["options"] == {"num_predict": REQUEST.max_tokens, "seed": 3}


def test_bedrock_gets_cache_points_in_place_of_marks() -> None:
    body = body_of("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", ending="", extra=AWS)
    point = {"cachePoint": {"type": "default"}}
    assert body["system"] == [{"text": RULES}, point]
    first, second, last = ({"text": text} for text in BLOCKS)
    assert body["messages"][0]["content"] == [first, point, second, point, last]
    assert body["inferenceConfig"]["maxTokens"] >= REQUEST.max_tokens


# -- the ladder, over OpenRouter


def provider_returned(message: str) -> Scripted:
    raw = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "Anthropic"}}
    return Scripted(status=400, body=json.dumps({"error": error}).encode())


def test_openrouter_in_front_of_anthropic_goes_down_one_step_once() -> None:
    refusal = provider_returned(
        "output_format.schema: For 'number' type, properties maximum, minimum are not supported"
    )
    with FaultServer(refusal, completion()) as server:
        client = LiteLLMClient("openrouter/anthropic/claude-sonnet-4.5", api_base=server.url, api_key=KEY)
        stack = ClientStack(client, Limiter(), Account())
        for _ in range(3):
            run_sync(lambda: stack.calls().complete(REQUEST))
        bodies = [one.body for one in server.received]
    schemas = [body["response_format"]["json_schema"]["schema"] for body in bodies]
    assert ["minimum" in schema["properties"]["x"] for schema in schemas] == [True, False, False, False]
    assert schemas[1]["properties"]["x"]["description"] == "0 to 2"


def test_a_server_that_takes_no_marks_is_sent_none_from_then_on() -> None:
    received = sent_to(
        "openrouter/anthropic/claude-sonnet-4.5",
        failure(400, "messages.0.content.0.cache_control: Extra inputs are not permitted"),
        completion(),
    )
    assert received[0].body["messages"] == marked_messages(ANTHROPICS)
    assert received[1].body["messages"] == MESSAGES
    assert "response_format" in received[1].body


def test_a_users_own_marks_are_the_only_ones() -> None:
    own = {"cache_control_injection_points": [{"location": "message", "role": "system"}]}
    body = body_of("openrouter/anthropic/claude-sonnet-4.5", extra=own)
    assert json.dumps(body["messages"]).count("cache_control") == 1
    assert body["messages"][1] == MESSAGES[1]


def test_a_refusal_inside_a_reply_with_the_status_200_goes_down_as_any_other() -> None:
    refusal = {"code": 400, "message": "properties maximum, minimum are not supported"}
    choice = {"index": 0, "finish_reason": "error", "message": {"role": "assistant", "content": ""}, "error": refusal}
    document = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    received = sent_to("openrouter/openai/gpt-5-mini", Scripted(body=json.dumps(document).encode()), completion())
    bounds = ["minimum" in one.body["response_format"]["json_schema"]["schema"]["properties"]["x"] for one in received]
    assert bounds == [True, False]


# -- what the cache took


def replied(model: str, answer: Scripted, ending: str = "/v1") -> Reply:
    with FaultServer(answer) as server:
        client = LiteLLMClient(
            model,
            api_base=server.url.removesuffix("/v1") + ending,
            api_key=KEY,
            extra={"prompt_cache_options": {"mode": "explicit"}} if "gpt" in model else None,
        )
        return run_sync(lambda: client.complete(REQUEST))


def test_tokens_written_into_openais_cache_are_counted_and_paid() -> None:
    details = {"cached_tokens": 600, "cache_write_tokens": 300}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010, "prompt_tokens_details": details}
    found = replied("openai/gpt-5.6-luna", completion(usage=usage)).usage
    assert found is not None
    assert (found.prompt_tokens, found.cached_tokens, found.written_tokens) == (1000, 600, 300)
    price = load().model_cost["gpt-5.6-luna"]["input_cost_per_token"]
    dollars = (600 * 0.1 + 300 * 1.25 + 100) * price + 10 * load().model_cost["gpt-5.6-luna"]["output_cost_per_token"]
    assert found.cost == pytest.approx(dollars)


def test_tokens_written_into_anthropics_cache_are_counted_and_paid() -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 300,
    }
    document = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": '{"x": 1}'}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    found = replied("anthropic/claude-sonnet-4-5", Scripted(body=json.dumps(document).encode()), "").usage
    assert found is not None
    assert (found.prompt_tokens, found.cached_tokens, found.written_tokens) == (1000, 600, 300)
    assert found.cost == pytest.approx(600 * 0.3e-6 + 300 * 3.75e-6 + 100 * 3e-6 + 10 * 15e-6)


def test_a_budget_reserves_what_writing_costs_where_prompts_are_marked() -> None:
    assert run_sync(LiteLLMClient("openai/gpt-5.6-luna").prices).prompt == pytest.approx(1.25 * 0.2e-6)
    assert run_sync(LiteLLMClient("openai/gpt-5-mini").prices).prompt == pytest.approx(0.25e-6)
