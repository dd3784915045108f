"""What arrives with the status 200 and is no plain reply is taken for what it is, on every route to a provider."""

import json
from dataclasses import replace
from typing import Any

import anyio
import optuna
import pytest
from fault_server import FaultServer, Received, Scripted, completion, failure
from optuna.distributions import FloatDistribution

from optuna_llm import (
    AuthenticationError,
    Budget,
    ClientError,
    LiteLLMClient,
    LLMGuidedSampler,
    ModelNotFoundError,
    ProposalError,
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    optimize_async,
)
from optuna_llm.samplers.client.errors import TOO_LONG, WEB_PAGE
from optuna_llm.samplers.client.library.models import REASONING_TOKENS
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.structured_output import SchemaRejectedError, content_text, text_of
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": False}
REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema=SCHEMA, max_tokens=288)
DOCUMENT = '{"x": 1}'

ROUTES = [
    "openai/m",
    "hosted_vllm/m",
    "openrouter/m",
    "mistral/m",
    "anthropic/m",
    "gemini/m",
    "ollama_chat/m",
    "groq/m",
]
OPENAI_ROUTES = ["openai/m", "hosted_vllm/m", "openrouter/m", "azure/m", "deepseek/m"]

pytestmark = [
    pytest.mark.usefixtures("real_litellm"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),  # as `load` has it for everybody
    pytest.mark.filterwarnings("ignore:Items? .* on TypedDict"),  # while LiteLLM imports what Mistral's need
]


def client_of(server: FaultServer, model: str = "openai/m", **options: Any) -> LiteLLMClient:
    native = model.startswith(("anthropic", "gemini", "ollama"))
    base = server.url.removesuffix("/v1") if native else server.url
    extra = {"api_version": "2024-06-01"} if model.startswith("azure") else None
    return LiteLLMClient(model, api_base=base, extra=extra, **{"api_key": "sk-loopback-123", "timeout": 10, **options})


def ask(answer: Scripted, model: str = "openai/m", **options: Any) -> Reply:
    with FaultServer(answer) as server:
        return run_sync(lambda: answered(client_of(server, model, **options)))


async def answered(client: LiteLLMClient) -> Reply:
    """The reply. Its client is closed at once: of more than some hundred, LiteLLM drops connections open."""
    try:
        return await client.complete(REQUEST)
    finally:
        await client.aclose()


def error_of(answer: Scripted, model: str = "openai/m") -> ClientError:
    with pytest.raises(ClientError) as caught:
        ask(answer, model)
    return caught.value


def document(found: Any) -> Scripted:
    return Scripted(body=json.dumps(found).encode())


def inside(**error: Any) -> Scripted:
    return document({"error": error})


# -- errors


@pytest.mark.parametrize("model", ROUTES)
@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 429, "message": "slow down"}, ThrottledError, 429),
        ({"code": "429", "message": "slow down"}, ThrottledError, 429),
        ({"code": 402, "message": "no credits"}, QuotaExceededError, 402),
        ({"code": 401, "message": "no auth"}, AuthenticationError, 401),
        ({"code": 503, "message": "later"}, TransientError, 503),
        ({"type": "overloaded_error", "message": "Overloaded"}, TransientError, 529),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_error_in_a_reply_is_what_the_same_status_would_be(
    error: dict[str, Any], kind: type[ClientError], status: int, model: str
) -> None:
    found = error_of(inside(**error), model)
    assert (type(found), found.status) == (kind, status)
    assert str(error["message"]) in str(found)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}}, ThrottledError),
        ({"error": {"code": 8, "status": "RESOURCE_EXHAUSTED", "message": "quota"}}, ThrottledError),
        ({"error": {"message": "Too many requests, please wait"}}, ThrottledError),
        ({"error": {"code": "insufficient_quota", "message": "exceeded"}}, QuotaExceededError),
        ({"error": {"type": "authentication_error", "message": "bad"}}, AuthenticationError),
        ({"error": {"code": "model_not_found", "message": "no such"}}, ModelNotFoundError),
        ({"error": "model is loading"}, TransientError),
        ({"error": {"type": "server_error", "message": "oops"}}, TransientError),
        ({"error": {"code": "deadline_exceeded", "message": "timed out"}}, TransientError),
        ({"object": "error", "message": "slow", "code": 429}, ThrottledError),
        ({"errors": [{"code": 429, "message": "slow"}], "success": False}, ThrottledError),
        ({"choices": [{"error": {"code": 429, "message": "slow"}, "message": {"content": ""}}]}, ThrottledError),
        ({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "x"}}]}, TransientError),
        ({"error": {"message": "something odd"}}, ClientError),
        ({"detail": "not allowed here"}, ClientError),
    ],
    ids=str,
)
def test_an_error_in_a_reply_is_found_wherever_it_stands(found: Any, kind: type[ClientError]) -> None:
    assert type(error_of(document(found))) is kind


def test_a_prompt_that_is_too_long_has_its_code_in_a_reply_too() -> None:
    found = error_of(inside(code=400, message="maximum context length is 4096 tokens"))
    assert (type(found), found.code) == (ClientError, TOO_LONG)


@pytest.mark.parametrize("model", ["openai/m", "openrouter/m"])
@pytest.mark.parametrize("where", ["body", "metadata", "headers"])
def test_the_time_to_wait_is_found_beside_the_error(where: str, model: str) -> None:
    error: dict[str, Any] = {"code": 429, "message": "slow down"}
    if where == "body":
        error["retry_after"] = 7
    if where == "metadata":
        error["metadata"] = {"retry_after_seconds": "7"}
    if where == "headers":
        error["metadata"] = {"headers": {"X": 1}}
    found = error_of(inside(**error), model)
    assert found.retry_after == (None if where == "headers" else 7.0)


@pytest.mark.parametrize("status", [200, 400])
def test_what_a_gateway_heard_from_the_provider_is_said(status: int) -> None:
    error = {"code": 400, "message": "Provider returned error", "metadata": {"raw": "top_p must be below 1"}}
    found = error_of(replace(document({"error": error}), status=status), "openrouter/m")
    assert "top_p must be below 1" in str(found)


def test_an_empty_error_beside_a_reply_is_none() -> None:
    body = json.loads(completion().body)
    assert ask(document({**body, "error": {}})).text == DOCUMENT
    assert ask(document({**body, "error": None, "errors": []})).text == DOCUMENT


def run(*answers: Scripted, **options: Any) -> Any:
    with FaultServer(*answers) as server:
        study = optuna.create_study(sampler=LLMGuidedSampler(client_of(server), **options.pop("sampler", {})))
        space = {"x": FloatDistribution(0, 1)}
        report = anyio.run(lambda: optimize_async(study, lambda _: 0.0, search_space=space, n_trials=1, **options))
        return report, len(server.received)


@pytest.mark.parametrize("code", [429, "rate_limit_exceeded", 503])
def test_a_limit_that_passes_ends_no_run(code: object) -> None:
    report, sent = run(inside(code=code, message="slow", retry_after=0.01), completion('{"rationale": "", "x": 0.5}'))
    assert (report.stop_reason, sent) == ("n_trials", 2)


# -- what is no reply


@pytest.mark.parametrize("model", ROUTES)
@pytest.mark.parametrize("body", [b'{"choices": [{"ind', b"", b"{}", b"Sorry!"], ids=lambda body: body[:9])
def test_what_is_no_reply_is_an_outage_on_every_route(body: bytes, model: str) -> None:
    found = error_of(Scripted(body=body), model)
    assert type(found) is TransientError
    assert "no reply" in str(found)


@pytest.mark.parametrize("model", ROUTES)
def test_a_web_page_is_another_place_and_no_outage_on_every_route(model: str) -> None:
    found = error_of(Scripted(body=b"<html><title>Sign in</title></html>", content_type="text/html"), model)
    assert (type(found), found.status, found.code) == (ClientError, None, WEB_PAGE)
    assert "a web page, 'Sign in'" in str(found)


@pytest.mark.parametrize("model", ["openai/m", "hosted_vllm/m", "anthropic/m"])
def test_what_was_said_instead_is_shown_without_the_key(model: str) -> None:
    said = json.dumps({"hello": "sk-loopback-123", "text": "x" * 999}).encode()
    found = str(error_of(Scripted(body=said), model))
    assert "hello" in found
    assert "sk-loopback-123" not in found
    assert len(found) < 600


# -- replies that are read all the same


def message(content: Any, **more: Any) -> Scripted:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **more}}
    return document({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm, {"}]}


@pytest.mark.parametrize("model", OPENAI_ROUTES)
@pytest.mark.parametrize(
    "content",
    [
        [THINKING, {"type": "text", "text": DOCUMENT}],
        [{"type": "text", "text": '{"x": '}, {"type": "text", "text": "1}"}],
        ['{"x":', " 1}"],
        [{"type": "output_text", "text": DOCUMENT}, {"type": "image_url", "image_url": {"url": "x"}}],
        {"x": 1},
    ],
    ids=str,
)
def test_content_in_parts_is_read_and_paid(content: Any, model: str) -> None:
    reply = ask(message(content), model)
    assert reply.text == DOCUMENT
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (9, 4)


@pytest.mark.parametrize("model", ["openai/m", "hosted_vllm/m", "openrouter/m", "mistral/m"])
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_an_answer_that_was_taken_for_a_thought_is_found(name: str, model: str) -> None:
    thoughts = f"I would go lower.\n```json\n{DOCUMENT}\n```\n"
    assert DOCUMENT in ask(message(None, **{name: thoughts}), model).text


@pytest.mark.parametrize(
    ("content", "thoughts", "reason"),
    [
        (None, 'perhaps {"x": 1}, or perhaps not', "stop"),
        (None, '{"x": 1}', "length"),
        ("I cannot.", '{"x": 1}', "stop"),
        ("", None, "stop"),
        (None, 5, "stop"),
    ],
)
def test_a_thought_is_no_answer(content: str | None, thoughts: Any, reason: str) -> None:
    assert text_of({"content": content, "reasoning_content": thoughts}, reason) == (content or "")


@pytest.mark.parametrize("model", OPENAI_ROUTES)
@pytest.mark.parametrize(
    "found",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"index": 0, "finish_reason": "stop", "message": None}]},
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "message": {"content": 5}}]},
    ],
    ids=str,
)
def test_a_reply_without_a_message_is_an_empty_reply_and_no_outage(found: Any, model: str) -> None:
    assert ask(document(found), model).text == ""


@pytest.mark.parametrize("model", OPENAI_ROUTES)
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "many", "completion_tokens": "few"},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "all"}},
        [1, 2],
        7,
        "lots",
    ],
    ids=str,
)
def test_an_odd_usage_loses_no_reply(usage: Any, model: str) -> None:
    assert ask(completion(usage=usage), model).text == DOCUMENT


@pytest.mark.parametrize(
    "changes", [{"model": 42}, {"id": 7, "created": "now"}, {"finish_reason": 7}, {"message": {"tool_calls": "none"}}]
)
def test_other_odd_fields_lose_no_reply_either(changes: dict[str, Any]) -> None:
    reply = ask(completion(**changes))
    assert reply.text == DOCUMENT
    assert reply.model is None or isinstance(reply.model, str)


@pytest.mark.parametrize(
    ("model", "found", "text"),
    [
        ("anthropic/m", {"type": "message", "model": "m", "content": None, "stop_reason": "end_turn"}, ""),
        ("anthropic/m", {"type": "message", "content": [{"type": "text", "text": DOCUMENT}]}, DOCUMENT),
        ("anthropic/m", {"type": "message", "content": [{"type": "tool_use", "input": {"x": 1}}]}, DOCUMENT),
        ("gemini/m", {"candidates": [{"content": {"parts": [{"text": DOCUMENT}]}}]}, DOCUMENT),
        ("gemini/m", {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]}, ""),
        ("ollama_chat/m", {"model": "m", "message": None, "done": True}, ""),
        ("ollama_chat/m", {"message": {"content": [{"type": "text", "text": DOCUMENT}]}, "done": True}, DOCUMENT),
        ("ollama_chat/m", {"message": {"content": DOCUMENT}, "done": True, "prompt_eval_count": "many"}, DOCUMENT),
    ],
    ids=str,
)
def test_replies_of_other_forms_are_read_where_litellm_cannot(model: str, found: Any, text: str) -> None:
    assert ask(document(found), model).text == text


@pytest.mark.parametrize(("content", "text"), [(None, ""), (7, ""), ([None, 7, {"text": 5}], ""), (("a", "b"), "ab")])
def test_parts_that_are_none_are_no_text(content: Any, text: str) -> None:
    assert content_text(content) == text


def test_a_run_is_asked_anew_after_a_reply_without_a_message_and_no_more_often_than_that() -> None:
    null = document({"choices": [{"index": 0, "finish_reason": "stop", "message": None}]})
    report, sent = run(null, completion('{"rationale": "", "x": 0.5}'), patience=0)
    assert (report.n_complete, report.reasks, sent) == (1, 1, 2)


# -- room to think


class Thinker(FaultServer):
    """Thinks for 1,500 tokens, then answers; knows `most` tokens, and refuses requests for more."""

    def __init__(self, most: int = 10**6, **thought: Any) -> None:
        super().__init__()
        self.thought = thought
        self.most = most

    @property
    def caps(self) -> list[int]:
        return [received.body["max_tokens"] for received in self.received]

    def answer(self, request: Received) -> Scripted:
        cap = request.body["max_tokens"]
        if cap > self.most:
            return failure(400, f"max_tokens is too large: {cap}. This model's maximum context length is {self.most}.")
        if cap > 1600:
            return completion(f'{{"rationale": "", "x": 0.{len(self.received) + 3}}}')
        return completion(finish_reason="length", **{"content": None, "message": {}, **self.thought})


OPEN: dict[str, Any] = {"content": "<think>Okay, the learning rate"}
TOLD_APART: dict[str, Any] = {"message": {"reasoning_content": "Okay, the learning rate"}}


@pytest.mark.parametrize("model", ["hosted_vllm/qwen", "openai/local", "openrouter/some/thinker"])
@pytest.mark.parametrize("thought", [OPEN, TOLD_APART, {"message": {"reasoning": "Okay, the"}}], ids=str)
def test_a_model_that_is_cut_off_in_thought_gets_room_to_think(thought: dict[str, Any], model: str) -> None:
    with Thinker(**thought) as server:
        client = client_of(server, model)
        first = run_sync(lambda: client.complete(REQUEST))
        assert first.finish_reason == "length"
        assert '"x": 0.' in run_sync(lambda: client.complete(REQUEST)).text
        assert run_sync(client.prices).extra_tokens == REASONING_TOKENS
        assert server.caps == [288, 288 + REASONING_TOKENS]


@pytest.mark.parametrize(
    "thought", [{"content": '{"rationale": "so'}, {"content": "I would go"}, {"content": None}], ids=str
)
def test_who_is_cut_off_in_an_answer_gets_no_room_to_think(thought: dict[str, Any]) -> None:
    with Thinker(**thought) as server:
        client = client_of(server)
        for _ in range(2):
            run_sync(lambda: client.complete(REQUEST))
        assert server.caps == [288, 288]


@pytest.mark.parametrize(("most", "enough"), [(4096, True), (1000, False)])
def test_a_server_that_has_less_room_is_asked_for_less(most: int, enough: bool) -> None:
    with Thinker(most=most, **OPEN) as server:
        client = client_of(server)
        stack = ClientStack(client, Limiter(), Account())
        replies = [run_sync(lambda: stack.calls().complete(REQUEST)) for _ in range(2)]
        assert (replies[1].finish_reason == "stop") is enough
        assert server.caps == [288, 288 + 8192, 288 + 2048, *([] if enough else [288 + 512, 288])][: len(server.caps)]


def test_a_prompt_that_is_too_long_is_still_an_error_once_there_is_no_room_left() -> None:
    with Thinker(most=100, **OPEN) as server:
        client = client_of(server)
        client.manner = replace(client._first_manner(), room=REASONING_TOKENS)
        for _ in range(3):
            with pytest.raises(SchemaRejectedError, match="less room for thoughts"):
                run_sync(lambda: client.complete(REQUEST))
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: client.complete(REQUEST))
        assert caught.value.code == TOO_LONG


def test_a_budget_sets_the_room_to_think_aside() -> None:
    with Thinker(**OPEN) as server:
        client = client_of(server)
        stack = ClientStack(client, Limiter(), Account(Budget(tokens=100_000)))
        run_sync(lambda: stack.calls().complete(REQUEST))
        worst = stack.account.statistics().spent.tokens
        stack.account.budget = Budget(tokens=worst + 5000)  # enough for an answer, not for 8,192 tokens of thought
        with pytest.raises(Exception, match="budget"):
            run_sync(lambda: stack.calls().complete(REQUEST))
        assert len(server.caps) == 1


def test_a_thinking_model_of_ones_own_server_comes_to_its_answer() -> None:
    with Thinker(**TOLD_APART) as server:
        study = optuna.create_study(sampler=LLMGuidedSampler(client_of(server, "hosted_vllm/qwen")))
        space = {"x": FloatDistribution(0, 1)}
        report = anyio.run(lambda: optimize_async(study, lambda _: 0.0, n_trials=2, n_workers=1, search_space=space))
    assert (report.n_complete, report.reasks) == (2, 1)


# -- room to answer


@pytest.mark.parametrize("n_parameters", [1, 40, 100, 250])
def test_many_parameters_get_room_for_all_of_them(n_parameters: int) -> None:
    space = {f"p{n}": FloatDistribution(0, 1) for n in range(n_parameters)}
    text = json.dumps({"rationale": "", **dict.fromkeys(space, 0.5)})
    with FaultServer(completion(text)) as server:
        study = optuna.create_study(sampler=LLMGuidedSampler(client_of(server), strategy="plain"))
        anyio.run(lambda: optimize_async(study, lambda _: 0.0, n_trials=1, search_space=space))
        assert server.received[0].body["max_tokens"] >= 256 + 32 * n_parameters


@pytest.mark.parametrize("cap", [None, 300])
def test_where_the_limit_is_hit_the_error_says_what_to_do(cap: int | None) -> None:
    cut = completion('{"rationale": "because', finish_reason="length")
    with FaultServer(cut) as server:
        client = client_of(server, max_tokens=cap)
        study = optuna.create_study(sampler=LLMGuidedSampler(client))
        space = {"x": FloatDistribution(0, 1)}
        options: dict[str, Any] = {"n_trials": 1, "max_failed_proposals": 1, "search_space": space}
        with pytest.raises(ProposalError, match=r"LiteLLMClient\(\.\.\., max_tokens=\.\.\.\).*thinking off"):
            anyio.run(lambda: optimize_async(study, lambda _: 0.0, **options))
        caps = [received.body["max_tokens"] for received in server.received]
    assert caps == ([288, 1152, 1152] if cap is None else [288, 300, 300])


def test_a_model_is_not_asked_for_more_than_the_table_says_it_gives() -> None:
    with FaultServer() as server:
        client = client_of(server, "openai/gpt-4", structured_output="prompt")  # 4,096 tokens
        run_sync(lambda: client.complete(replace(REQUEST, max_tokens=9999)))
        assert server.received[0].body["max_tokens"] == 4096
