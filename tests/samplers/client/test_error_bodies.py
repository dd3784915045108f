"""Error bodies in the shapes of their providers, and what we make of each: alone, and through LiteLLM.

The corpus is `error_bodies.json`. Its values are invented; `{key}` stands where a provider repeats the key.
"""

import functools
import importlib.util
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import hypothesis
import hypothesis.strategies as st
import pytest
from fault_server import FaultServer, Scripted

from optuna_llm.samplers.client import ClientError, LiteLLMClient, Request, TransientError
from optuna_llm.samplers.client.error_bodies import DEEPEST, LONGEST_MESSAGE, ErrorBody, read_body
from optuna_llm.samplers.client.litellm_errors import facts_of, translate
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.structured_output import SchemaRejectedError, is_about_structure
from optuna_llm.samplers.limits.retrying_client import LONGEST_WAIT_SECONDS, RetryingClient

CORPUS: Final[list[dict[str, Any]]] = json.loads(Path(__file__).with_name("error_bodies.json").read_text("utf-8"))
KEY: Final = "sk-given-0123456789abcdef"
NOW: Final = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SCHEMA: Final = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
REQUEST: Final = Request(messages=[{"role": "user", "content": "hi"}], schema=SCHEMA)

# A model of each route that LiteLLM can be pointed at loopback with, and where its address ends. Not Vertex AI, which
# fetches a token from Google first; its bodies are Gemini's.
MODELS: Final = {
    "openai": ("openai/gpt-4o-mini", "/v1"),
    "azure": ("azure/gpt-4o", ""),
    "anthropic": ("anthropic/claude-haiku-4-5", ""),
    "gemini": ("gemini/gemini-2.5-flash", ""),
    "mistral": ("mistral/mistral-small-latest", "/v1"),
    "openrouter": ("openrouter/acme/any", "/v1"),
    "groq": ("groq/llama-3.1-8b-instant", "/v1"),
    "deepseek": ("deepseek/deepseek-chat", "/v1"),
    "together_ai": ("together_ai/acme/any", "/v1"),
    "bedrock": ("bedrock/anthropic.claude-3-5-haiku-20241022-v1:0", ""),
    "hosted_vllm": ("hosted_vllm/any", "/v1"),
    "llamafile": ("llamafile/any", "/v1"),
    "ollama_chat": ("ollama_chat/any", ""),
    "lm_studio": ("lm_studio/any", "/v1"),
    "litellm_proxy": ("litellm_proxy/any", "/v1"),
    "xai": ("xai/grok-4", "/v1"),
}
EXTRA: Final[dict[str, dict[str, Any]]] = {
    "azure": {"api_version": "2024-10-21"},
    "bedrock": {
        "aws_access_key_id": "AKIAABCDEFGHIJKLMNOP",
        "aws_secret_access_key": KEY,
        "aws_region_name": "us-east-1",
    },
}


def name_of(entry: dict[str, Any]) -> str:
    return f"{entry['route']}: {entry['name']} ({entry['status']})"


def body_of(entry: dict[str, Any]) -> str:
    body = entry["body"]
    return (body if isinstance(body, str) else json.dumps(body)).replace("{key}", KEY)


each = pytest.mark.parametrize("entry", CORPUS, ids=name_of)
each_sent = pytest.mark.parametrize("entry", [one for one in CORPUS if one["route"] in MODELS], ids=name_of)


class Raised(Exception):
    """An error as LiteLLM raises it: headers and status on top, what the server said at the root of the chain."""

    def __init__(self, entry: dict[str, Any]) -> None:
        super().__init__("litellm.APIError: SomeException - see below")
        self.litellm_response_headers = {"date": "Mon, 02 Nov 2026 12:00:00 GMT", **entry["headers"]}
        self.status_code = 500 if entry["status"] == 200 else entry["status"]
        self.__cause__: BaseException
        if entry["status"] == 200:
            self.__cause__ = json.JSONDecodeError("no JSON", body_of(entry), 0)
        else:
            self.__cause__ = Exception("Client error")
            vars(self.__cause__)["response"] = SimpleNamespace(status_code=entry["status"], text=body_of(entry))


def check(error: ClientError, entry: dict[str, Any]) -> None:
    assert entry["says"] in str(error)
    assert entry["advice"] in str(error)
    assert KEY not in str(error)
    assert error.transient is entry["retried"]
    assert error.status == (None if entry["status"] == 200 else entry["status"])
    if "code" in entry:
        assert error.code == entry["code"]
    if "retry_after" in entry:
        assert error.retry_after == pytest.approx(entry["retry_after"])


@each
def test_a_body_is_read_as_what_it_means(entry: dict[str, Any]) -> None:
    error = translate(facts_of(Raised(entry)), model="some/model", api_base="http://host/v1", secrets=[KEY], now=NOW)
    refused = is_about_structure(error, "json_schema", ["some/model", "model", "http://host/v1"])
    assert refused is (entry["error"] == "SchemaRejectedError")
    if refused:
        error = SchemaRejectedError(f"{error} (asking in mode 'tool' from now on)", status=error.status)
    assert type(error).__name__ == entry["error"]
    check(error, entry)


@pytest.mark.usefixtures("real_litellm")
@pytest.mark.filterwarnings("ignore:Items? .* using the .ReadOnly. qualifier")  # LiteLLM's own, for Mistral
@each_sent
def test_a_body_that_arrives_through_litellm_is_read_as_what_it_means(entry: dict[str, Any]) -> None:
    route, sleeps = entry["route"], []
    if route == "bedrock" and importlib.util.find_spec("botocore") is None:
        pytest.skip("LiteLLM signs requests to Bedrock with botocore")
    headers = dict(entry["headers"])
    content_type = headers.pop("content-type", "application/json")
    answer = Scripted(status=entry["status"], body=body_of(entry).encode(), headers=headers, content_type=content_type)

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)

    with FaultServer(answer) as server:
        model, path = MODELS[route]
        base = server.url.removesuffix("/v1") + path
        client = LiteLLMClient(model, api_base=base, api_key=KEY, timeout=20.0, extra=EXTRA.get(route))

        async def ask() -> None:
            try:
                await RetryingClient(client, attempts=2, sleep=sleep, draw=lambda: 0.0).complete(REQUEST)
            finally:
                await client.aclose()  # the error's traceback keeps the client

        with pytest.raises(ClientError) as caught:
            run_sync(ask)
        requests = len(server.received)
    assert type(caught.value).__name__ == entry["error"]
    check(caught.value, entry)
    assert base in str(caught.value)
    assert requests == 1 + (entry["retried"] and entry.get("retry_after", 0.0) < LONGEST_WAIT_SECONDS)


def test_the_corpus_is_broad() -> None:
    assert len({name_of(entry) for entry in CORPUS}) == len(CORPUS) >= 60
    assert len({entry["route"] for entry in CORPUS}) >= 10
    assert all(entry["says"] and entry["advice"] for entry in CORPUS)


NESTED: Final = {
    "a list of errors": ({"errors": [{"message": "first", "code": "one"}, {"message": "second"}]}, "first", "one"),
    "a list on top": (
        [{"error": {"message": "first", "status": "ONE"}}, {"error": {"message": "second"}}],
        "first",
        "ONE",
    ),
    "an error that is a text": ({"error": "gone", "status": 410}, "gone", None),
    "an error that is JSON": ({"error": json.dumps({"error": {"message": "inside"}})}, "inside", None),
    "a title beside a message": ({"statusCode": 400, "error": "Bad Request", "message": "no x"}, "no x", None),
    "a generic code outside": (
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
        "busy",
        "overloaded_error",
    ),
    "only a generic code": (
        {"error": {"message": "no", "type": "invalid_request_error"}},
        "no",
        "invalid_request_error",
    ),
    "raw JSON that says nothing": (
        {"error": {"message": "outside", "metadata": {"raw": '{"x": 1}'}}},
        '{"x": 1}',
        None,
    ),
    "raw null": ({"error": {"message": "outside", "metadata": {"raw": None, "provider_name": None}}}, "outside", None),
    "a host that its message names": (
        {"error": {"message": "Acme is down", "metadata": {"provider_name": "Acme"}}},
        "Acme is down",
        None,
    ),
    "FastAPI's list": ({"detail": [{"loc": ["body", 0], "msg": "wrong", "type": "missing"}]}, "wrong", "missing"),
    "a message that is an object": ({"message": {"error": {"msg": "deep", "code": "c"}}}, "deep", "c"),
    "no words at all": ({"error": {"code": 500}}, '{"error": {"code": 500}}', None),
    "an example in the message": ({"message": 'want {"x": 1}'}, 'want {"x": 1}', None),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_reason_is_found_where_it_stands(name: str) -> None:
    document, message, code = NESTED[name]
    body = read_body(json.dumps(document), {})
    assert (body.kind, body.message, body.code) == ("json", message, code)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("<html><head><title> Log&nbsp;in\n here </title>", "Log in here"),
        (
            "\n\ufeff<!-- made by hand -->\n<!DOCTYPE HTML PUBLIC '-//W3C//DTD'><h1>Oops</h1>".replace("\ufeff", ""),
            "Oops",
        ),
        ("<?xml version='1.0'?><!DOCTYPE html><html/>", ""),
        ("litellm.X: Empty or invalid response. Received: '<!doctype html><title>Hi</title>'. Check it.", "Hi"),
    ],
)
def test_a_page_is_known_and_named_by_its_title(text: str, title: str) -> None:
    assert read_body(text, {}) == ErrorBody(kind="page", message=title)


@pytest.mark.parametrize("text", ["<Error><Code>NoSuchKey</Code></Error>", "use <html> in it", '{"message": "<html>"}'])
def test_what_only_speaks_of_pages_is_none(text: str) -> None:
    assert read_body(text, {}).kind != "page"


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("Please try again in 1h2m3.5s.", "1h2m3.5s"),
        ("please retry after 5 seconds", "5"),
        ("Retry in 250ms", "250ms"),
        ("Please try again in a moment", None),
        ("try again in 3 steps", None),
        ("try again in 5something", None),
    ],
)
def test_a_time_to_wait_is_read_from_words(message: str, wait: str | None) -> None:
    assert read_body(json.dumps({"error": {"message": message}}), {}).wait == wait


def test_nesting_is_followed_to_a_depth_and_no_further() -> None:
    document: Any = {"message": "core"}
    for _ in range(DEEPEST):
        document = {"error": document}
    assert read_body(json.dumps(document), {}).message == "core"
    text = read_body(json.dumps({"error": document}), {}).message
    assert text.startswith("{")


HOSTILE: Final = {
    "lists": "[" * 60_000,
    "objects": '{"error":' * 7_000,
    "braces": "{" * 60_000,
    "signs": "{'a': " + "-" * 60_000 + "1}",
    "no key": "{[]: 1}",
    "an escape": r"{'message': '\d'}",
    "tags": "<html>" * 10_000,
    "titles": "<html>" + "<title" * 10_000,
    "comments": "<!--" * 16_000,
    "quoted comments": "Received: '<!--" * 4_000,
    "durations": "Retry in " + "1s" * 30_000,
    "JSON in JSON": functools.reduce(lambda text, _: json.dumps({"message": text, "raw": text}), range(7), "x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_read_at_once(name: str) -> None:
    started = time.thread_time()
    assert len(read_body(HOSTILE[name], {}).message) <= LONGEST_MESSAGE
    assert time.thread_time() - started < 1.0


def test_words_in_a_reply_that_broke_off_are_no_reason() -> None:
    """A server answered well, and broke off: what the model said is not what the server has to say."""
    error = Raised({"status": 200, "headers": {}, "body": '{"choices": [{"message": {"content": "Missing API key'})
    error.litellm_response_headers = {}
    assert type(translate(facts_of(error), model="some/model")) is TransientError


VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "detail", "metadata", "raw", "code", "details", "loc", "headers", "reasons"]
            ),
            inner | inner.map(json.dumps),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis.given(VALUES)
def test_any_document_is_read(document: Any) -> None:
    body = read_body(json.dumps(document), {})
    assert body.code is None or body.code
    assert body.message or body.kind == "page"
