"""The ladder of structured output: what is sent in each mode, when it steps down, and that it remembers."""

import asyncio
import json
import logging
import pickle
from dataclasses import replace
from typing import Any

import pytest
from fault_server import FaultServer, Scripted, completion, failure

from optuna_llm import ClientError, LiteLLMClient, Request, UsageError
from optuna_llm.samplers.client.library import first_mode, load
from optuna_llm.samplers.client.library.models import REASONING_TOKENS
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.structured_output import SchemaRejectedError, is_about_structure
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack
from optuna_llm.samplers.wire.ladder import MODES, Mode, completion_arguments, next_mode
from optuna_llm.samplers.wire.words import example

SCHEMA = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "x": {"type": "number", "minimum": 0.0, "maximum": 2.0},
        "n": {"type": "integer", "minimum": 1, "maximum": 9},
        "c": {"type": "string", "enum": ["a", "b"]},
    },
}
REQUEST = Request(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], schema=SCHEMA)
CALLED = completion(
    None, message={"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 2}'}}]}
)


pytestmark = pytest.mark.usefixtures("real_litellm")


def arguments(request: Request, mode: Mode) -> dict[str, Any]:
    return completion_arguments(request.messages, request.schema, mode)


def client(server: FaultServer, **options: Any) -> LiteLLMClient:
    return LiteLLMClient("openai/some", api_base=server.url, api_key="k", timeout=10, **options)


def test_the_example_is_a_document_that_the_schema_allows() -> None:
    assert example(SCHEMA) == {"rationale": "why this configuration", "x": 1.0, "n": 5, "c": "a"}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_leaves_all_but_the_last_message_as_it_is(mode: Mode) -> None:
    sent = arguments(REQUEST, mode)
    assert sent["messages"][0] == REQUEST.messages[0]
    assert sent["messages"][-1]["content"].startswith("u")


def enums(**choices: list[Any]) -> dict[str, Any]:
    return {"properties": {name: {"enum": values} for name, values in choices.items()}}


@pytest.mark.parametrize(
    ("content", "schema", "listed"),
    [
        ("base: one of " + ", ".join(f'"m{n}"' for n in range(20)), enums(base=[f"m{n}" for n in range(60)]), True),
        ('kind: one of "a", "b"', enums(kind=["a", "b"]), False),
        ('kind: one of "a", "b"', enums(kind=["a", "b", 'say "c"']), True),
        ("", enums(kind=["ä", "ö"]), True),
        ("1 2 3", enums(choice=[1, 2, 3]), False),
        ("nothing", SCHEMA | {"properties": {"x": {"type": "number"}}}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["json_object", "prompt"])
def test_without_a_schema_all_choices_are_told(content: str, schema: dict[str, Any], listed: bool, mode: Mode) -> None:
    request = Request(messages=[{"role": "user", "content": content}], schema=schema)
    sent = arguments(request, mode)["messages"][0]["content"]
    for part in schema["properties"].values():
        assert all(json.dumps(choice, ensure_ascii=False) in sent for choice in part.get("enum", ()))
    assert ("All values that these keys may have" in sent) is listed


def test_choices_that_the_system_message_names_are_told_already() -> None:
    told: list[dict[str, str]] = [{"role": "system", "content": 'c: "a", "b"'}, {"role": "user", "content": "u"}]
    request = Request(messages=told, schema=enums(c=["a", "b"]))
    assert "All values" not in arguments(request, "prompt")["messages"][1]["content"]


@pytest.mark.parametrize("mode", MODES)
def test_a_reask_leaves_the_prompt_as_it_was_in_every_mode(mode: Mode) -> None:
    more = [{"role": "assistant", "content": "{}"}, {"role": "user", "content": "wrong"}]
    again = replace(REQUEST, messages=[*REQUEST.messages, *more])
    first, second = (arguments(request, mode)["messages"] for request in (REQUEST, again))
    assert second == [*first, *more]


def test_the_ladder_has_a_bottom_and_a_rung_for_those_who_take_no_bounds() -> None:
    assert [next_mode(mode, "response_format") for mode in MODES] == ["tool", "tool", "json_object", "prompt", None]
    assert next_mode("json_schema", "properties maximum, minimum are not supported") == "json_schema_without_bounds"


@pytest.mark.parametrize(
    ("status", "text", "about"),
    [
        (400, "Invalid schema for response_format 'configuration': 'minimum' is not permitted", True),
        (400, "response_format type json_schema is not supported by this model", True),
        (422, "tool_choice: only 'auto' is supported", True),
        (400, "Failed to initialize samplers: failed to parse grammar", True),
        (400, "max_tokens is too large", False),
        (500, "schema service down", False),
        (None, "json_schema", False),
        (400, "Failed to call a function. Please adjust your prompt.", True),
        (400, "json_validate_failed: Failed to generate JSON.", True),
        (404, "No endpoints found that can handle the requested parameters.", True),
        (404, "No endpoints found that support tool use.", True),
    ],
)
def test_only_a_refusal_of_the_mode_steps_down(status: int | None, text: str, about: bool) -> None:
    assert is_about_structure(ClientError(text, status=status), "json_schema") is about


@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, "temperature must be below 2"),
        failure(400, "the model `llama-8b-tool-use` is too old"),
        failure(
            400, "maximum context length is 8192 tokens: shorten messages or tools", code="context_length_exceeded"
        ),
        failure(404, "no such model", code="model_not_found"),
        failure(402, "no credit for tools"),
    ],
)
def test_the_name_of_a_model_and_other_refusals_do_not_step_down(refusal: Scripted) -> None:
    with FaultServer(refusal) as server:
        asked = LiteLLMClient("openai/llama-8b-tool-use", api_base=server.url, api_key="k", timeout=10)
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: asked.complete(REQUEST))
    assert not isinstance(caught.value, SchemaRejectedError)


def test_a_refused_parameter_is_named_and_steps_down() -> None:
    error = {"message": "This value is not supported.", "param": "response_format", "code": "unsupported_value"}
    with FaultServer(Scripted(status=400, body=json.dumps({"error": error}).encode())) as server:
        asked = client(server)
        with pytest.raises(SchemaRejectedError, match="for 'response_format'"):
            run_sync(lambda: asked.complete(REQUEST))


def test_many_refusals_of_one_mode_are_one_step_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def eight(asked: LiteLLMClient) -> list[Any]:
        return await asyncio.gather(*(asked.complete(REQUEST) for _ in range(8)), return_exceptions=True)

    with FaultServer(failure(400, "response_format is not supported")) as server:
        asked = client(server)
        with caplog.at_level(logging.INFO, logger="optuna_llm"):
            errors = run_sync(lambda: eight(asked))
    assert {type(error) for error in errors} == {SchemaRejectedError}
    assert asked.manner is not None
    assert asked.manner.mode == "tool"
    (line,) = (record.getMessage() for record in caplog.records if record.name == "optuna_llm.samplers.client")
    assert "response_format is not supported" in line
    assert line.endswith("(asking in mode 'tool' from now on)")


def test_a_server_that_refuses_schemas_is_asked_by_tool_and_the_step_is_remembered() -> None:
    refusal = failure(400, "response_format is not supported")
    with FaultServer(refusal, CALLED) as server:
        asked = client(server)
        with pytest.raises(SchemaRejectedError, match="'tool'"):
            run_sync(lambda: asked.complete(REQUEST))
        assert run_sync(lambda: asked.complete(REQUEST)).text == '{"x": 2}'
        assert run_sync(lambda: pickle.loads(pickle.dumps(asked)).complete(REQUEST)).text == '{"x": 2}'
        bodies = [received.body for received in server.received]
    assert "response_format" in bodies[0]
    assert all("tools" in body and "response_format" not in body for body in bodies[1:])


def test_the_line_goes_down_the_whole_ladder_in_one_ask() -> None:
    refusals = [failure(400, f"{word} is not supported") for word in ("json_schema", "tools", "json_object")]
    with FaultServer(*refusals, completion()) as server:
        stack = ClientStack(client(server), Limiter(), Account())
        reply = run_sync(lambda: stack.calls().complete(REQUEST))
        bodies = [received.body for received in server.received]
    assert reply.text == '{"x": 1}'
    assert len(bodies) == 4
    assert bodies[2]["response_format"] == {"type": "json_object"}
    assert "response_format" not in bodies[3]
    assert json.dumps(example(SCHEMA)) in bodies[3]["messages"][-1]["content"]


def test_at_the_bottom_the_refusal_is_an_error() -> None:
    with FaultServer(failure(400, "schema, tools and json_object: all refused")) as server:
        stack = ClientStack(client(server), Limiter(), Account())
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: stack.calls().complete(REQUEST))
        assert len(server.received) == 4
    assert type(caught.value) is ClientError


def test_a_pinned_mode_does_not_step_down() -> None:
    with FaultServer(failure(400, "response_format is not supported")) as server:
        pinned = client(server, structured_output="json_object")
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: pinned.complete(REQUEST))
        assert server.received[0].body["response_format"] == {"type": "json_object"}
    assert type(caught.value) is ClientError


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="structured_output"):
        LiteLLMClient("openai/x", structured_output="yaml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "base", "mode"),
    [
        ("openai/gpt-4o-mini", None, "json_schema"),
        ("openai/gpt-3.5-turbo", None, "tool"),
        ("openai/gpt-3.5-turbo", "http://localhost:8000/v1", "json_schema"),
        ("hosted_vllm/anything", None, "json_schema"),
    ],
)
def test_the_first_mode_follows_what_litellm_knows(model: str, base: str | None, mode: Mode) -> None:
    assert first_mode(model, base) == mode


def test_a_reasoning_model_gets_room_to_think() -> None:
    with FaultServer(completion()) as server:
        asked = LiteLLMClient("openai/gpt-5-mini", api_base=server.url, api_key="k")
        run_sync(lambda: asked.complete(REQUEST))
        body = server.received[0].body
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 1024 + 8192


def test_room_to_think_ends_at_the_most_that_a_model_may_complete() -> None:
    with FaultServer(completion()) as server:
        asked = LiteLLMClient("deepseek/deepseek-r1", api_base=server.url, api_key="k")
        run_sync(lambda: asked.complete(REQUEST))
        assert server.received[0].body["max_tokens"] == load().model_cost["deepseek/deepseek-r1"]["max_output_tokens"]


def test_the_room_that_is_sent_is_the_one_that_a_refusal_is_held_against() -> None:
    def key() -> str:
        if asked.manner is not None:  # another request learns more while this one waits for its key
            asked.manner = replace(asked.manner, room=REASONING_TOKENS)
        return "k"

    with FaultServer(completion()) as server:
        asked = LiteLLMClient("openai/some", api_base=server.url, api_key=key)
        run_sync(lambda: asked.complete(REQUEST))
        run_sync(lambda: asked.complete(REQUEST))
        sent = [received.body["max_tokens"] for received in server.received]
    assert sent == [REQUEST.max_tokens, REQUEST.max_tokens + REASONING_TOKENS]


def test_a_truncated_tool_call_is_marked_as_cut_off() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 12'}}
    cut: Scripted = completion(None, message={"tool_calls": [call]}, finish_reason="length")
    with FaultServer(cut) as server:
        reply = run_sync(lambda: client(server, structured_output="tool").complete(REQUEST))
    assert reply.finish_reason == "length"
