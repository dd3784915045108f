import asyncio
import contextlib
import copy
import gc
import logging
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from clock import JumpingLoop
from fault_server import FaultServer, Scripted, completion, failure

from optuna_llm.engine import logs
from optuna_llm.engine.errors import UsageError
from optuna_llm.engine.secrets import scrub
from optuna_llm.samplers.client import (
    AuthenticationError,
    Client,
    ClientError,
    DeadlineExceededError,
    LiteLLMClient,
    ModelNotFoundError,
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    litellm_client,
)
from optuna_llm.samplers.client.errors import TOO_LONG, told_of_silence
from optuna_llm.samplers.client.headers import retry_after
from optuna_llm.samplers.client.llm_loop import run_sync, submit
from optuna_llm.samplers.client.structured_output import SchemaRejectedError

KEY = "sk-abcdefghijklmnop"
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": False}
REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema=SCHEMA)


pytestmark = pytest.mark.usefixtures("real_litellm")


def client_of(server: FaultServer, model: str = "openai/gpt-4o-mini", **options: Any) -> LiteLLMClient:
    return LiteLLMClient(model, api_base=server.url, **{"api_key": KEY, "timeout": 10.0, **options})


def ask(*script: Scripted, request: Request = REQUEST, **options: Any) -> Reply:
    with FaultServer(*script) as server:
        try:
            return run_sync(lambda: client_of(server, **options).complete(request))
        finally:
            assert len(server.received) == 1


BROKEN = Scripted(body=b'{"id": "c', content_type="application/json")
HTML = Scripted(body=b"<html>hi</html>", content_type="text/html")
FAULTS: dict[str, tuple[Scripted, type[ClientError]]] = {
    "bad request": (failure(400, "bad value"), ClientError),
    "bad schema": (failure(400, "Invalid schema for response_format"), SchemaRejectedError),
    "context": (failure(400, "too long", code="context_length_exceeded"), ClientError),
    "bad key": (failure(401, "bad key", code="invalid_api_key"), AuthenticationError),
    "bad key as 400": (failure(400, "API key not valid. Please pass a valid API key."), AuthenticationError),
    "no credit": (failure(402), QuotaExceededError),
    "forbidden": (failure(403), AuthenticationError),
    "no model": (failure(404, code="model_not_found"), ModelNotFoundError),
    "server's timeout": (failure(408), TransientError),
    "conflict": (failure(409), TransientError),
    "too large": (failure(413), ClientError),
    "unprocessable": (failure(422), ClientError),
    "rate": (failure(429, code="rate_limit_exceeded"), ThrottledError),
    "flex is full": (failure(429, "Resource Unavailable", code="resource_unavailable"), TransientError),
    "billing": (failure(429, code="insufficient_quota"), QuotaExceededError),
    "server error": (failure(500), TransientError),
    "server error that talks of keys": (failure(500, "Missing credentials"), TransientError),
    "bad gateway in HTML": (replace(HTML, status=502), TransientError),
    "unavailable": (failure(503), TransientError),
    "overloaded": (failure(529), TransientError),
    "HTML instead of JSON": (HTML, ClientError),
    "broken JSON": (BROKEN, TransientError),
    "cut body": (replace(BROKEN, promised=500), TransientError),
    "reset": (Scripted(reset=True), TransientError),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_one_request_and_one_error(name: str) -> None:
    scripted, expected = FAULTS[name]
    with pytest.raises(ClientError) as caught:
        ask(scripted)
    assert type(caught.value) is expected
    assert "gpt-4o-mini" in str(caught.value)


@pytest.mark.parametrize(("status", "expected"), [(413, ClientError), (529, TransientError), (429, ThrottledError)])
def test_another_provider_is_judged_by_its_own_status(status: int, expected: type[ClientError]) -> None:
    with FaultServer(failure(status, retry_after="7")) as server:
        base = server.url.removesuffix("/v1")
        client = LiteLLMClient("anthropic/claude-3-5-haiku-latest", api_base=base, api_key=KEY, timeout=10.0)
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: client.complete(REQUEST))
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.retry_after) == (status, 7.0)


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [
        ("openai/x", 413, "Request too large"),
        ("openai/x", 400, "Please reduce the length of the messages or completion."),
        ("openai/x", 400, "This model's maximum context length is 4096 tokens."),
        ("anthropic/claude-sonnet-4-5", 400, "prompt is too long: 210000 tokens > 200000 maximum"),
        (
            "anthropic/claude-sonnet-4-5",
            400,
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        ),
        ("gemini/gemini-2.5-flash", 400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
    ],
)
def test_a_prompt_that_is_too_long_has_one_code_with_every_provider(model: str, status: int, text: str) -> None:
    with FaultServer(failure(status, text, code="invalid_request_error")) as server:
        base = server.url if model.startswith("openai") else server.url.removesuffix("/v1")
        client = LiteLLMClient(model, api_base=base, api_key=KEY, timeout=10.0)
        with pytest.raises(ClientError) as caught:
            run_sync(lambda: client.complete(REQUEST))
    assert (type(caught.value), caught.value.status, caught.value.code) == (ClientError, status, TOO_LONG)


def test_an_error_carries_status_code_and_the_time_to_wait() -> None:
    with pytest.raises(ThrottledError) as caught:
        ask(failure(429, code="rate_limit_exceeded", retry_after_ms="1500", retry_after="2"))
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "rate_limit_exceeded", 1.5)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 02 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 02 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ],
)
def test_retry_after_reads_seconds_dates_and_milliseconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, datetime(2026, 11, 2, 12, 0, tzinfo=UTC)) == seconds


def test_a_refused_connection_is_transient_and_names_the_address() -> None:
    with FaultServer() as server:
        address = server.url
    client = LiteLLMClient("openai/gpt-4o-mini", api_base=address, api_key=KEY)
    with pytest.raises(TransientError) as caught:
        run_sync(lambda: client.complete(REQUEST))
    assert address in str(caught.value)
    assert "connection failed" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("gemini/gemini-2.0-flash", "GEMINI_API_KEY"),
        ("anthropic/claude-3-5-haiku-latest", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_names_its_environment_variable(model: str, variable: str) -> None:
    with pytest.raises(AuthenticationError, match=variable):
        run_sync(lambda: LiteLLMClient(model).complete(REQUEST))


def test_an_unknown_provider_says_how_to_write_the_model() -> None:
    with pytest.raises(ModelNotFoundError, match="'provider/model'"):
        run_sync(lambda: LiteLLMClient("nosuch/model").complete(REQUEST))


@pytest.mark.parametrize("model", ["", " ", "gpt-4o", "/x", "openai/", "openai/gpt 4", None])
def test_a_malformed_model_is_refused_at_construction(model: Any) -> None:
    with pytest.raises(UsageError, match="provider/model"):
        LiteLLMClient(model)


@pytest.mark.parametrize("scripted", [Scripted(hang=True), replace(completion(), drip=0.05)], ids=["hang", "drip"])
def test_the_deadline_is_total(scripted: Scripted) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        ask(scripted, timeout=0.5)
    assert time.monotonic() - started < 3


def test_cancelling_hangs_up_on_the_server() -> None:
    with FaultServer(Scripted(hang=True)) as server:
        future = submit(lambda: client_of(server).complete(REQUEST))
        assert server.arrived.wait(10)
        future.cancel()
        assert server.hung_up.wait(2)


def test_a_reply_carries_text_usage_cost_latency_and_quota() -> None:
    tokens = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}}
    body = completion(usage=tokens)
    reply = ask(replace(body, headers={"x-ratelimit-remaining-requests": "9"}))
    assert (reply.text, reply.model, reply.finish_reason) == ('{"x": 1}', "gpt-4o-mini", "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens) == (1000, 10, 400)
    assert reply.usage.cost == pytest.approx(600 * 0.15e-6 + 400 * 0.075e-6 + 10 * 0.6e-6)
    assert reply.latency is not None
    assert reply.latency > 0
    assert reply.quota == {"x-ratelimit-remaining-requests": "9"}


def test_the_price_is_that_of_the_model_that_was_asked_for() -> None:
    reply = ask(completion(model="gpt-4o-mini"), model="openai/my-own-model")
    assert reply.usage is not None
    assert reply.usage.cost is None


def test_usage_that_is_missing_is_unknown_and_not_zero() -> None:
    assert ask(completion(usage=None)).usage is None


@pytest.mark.parametrize(
    ("scripted", "text", "finish_reason"),
    [
        (completion(choices=[]), "", None),
        (completion(None), "", "stop"),
        (completion(None, message={"refusal": "I cannot"}), "", "refusal"),
        (completion(None, finish_reason="content_filter"), "", "content_filter"),
        (completion('{"x":', finish_reason="length"), '{"x":', "length"),
    ],
    ids=["no choices", "null", "refusal", "filtered", "length"],
)
def test_a_reply_without_a_document_is_still_a_reply(scripted: Scripted, text: str, finish_reason: str | None) -> None:
    reply = ask(scripted)
    assert (reply.text, reply.finish_reason) == (text, finish_reason)


def test_the_schema_is_sent_and_nothing_is_sent_that_was_not_asked_for() -> None:
    with FaultServer() as server:
        run_sync(lambda: client_of(server).complete(replace(REQUEST, metadata={"secret": 1})))
        body = server.received[0].body
    assert body["response_format"]["json_schema"] == {"name": "configuration", "strict": True, "schema": SCHEMA}
    assert set(body) == {"model", "messages", "response_format", "max_tokens"}


@pytest.mark.parametrize(("mine", "asked", "sent"), [(100, 1024, 100), (2048, 512, 512)])
def test_the_smaller_cap_on_tokens_wins(mine: int, asked: int, sent: int) -> None:
    with FaultServer() as server:
        run_sync(lambda: client_of(server, max_tokens=mine).complete(replace(REQUEST, max_tokens=asked)))
        assert server.received[0].body["max_tokens"] == sent


def test_seed_temperature_and_extra_arrive() -> None:
    with FaultServer() as server:
        client = client_of(server, temperature=0.5, extra={"top_p": 0.9})
        run_sync(lambda: client.complete(replace(REQUEST, seed=7)))
        body = server.received[0].body
    assert (body["seed"], body["temperature"], body["top_p"]) == (7, 0.5, 0.9)


def test_errors_hold_no_key_anywhere() -> None:
    with pytest.raises(AuthenticationError) as caught:
        ask(
            failure(401, f"Incorrect API key provided: {KEY} or mine-own-key"),
            extra={"extra_headers": {"x": "mine-own-key"}},
        )
    error = caught.value
    assert "[removed]" in str(error)
    for text in (KEY, "mine-own-key"):
        assert text not in str(error)
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize(
    "secret",
    [
        *("sk-proj-1234567890abc", "sk-abcdefghijklmnopqrstuv", "sk-abc123***xyz", "AIzaSyA1234567890"),
        *("hf_abcdefghijklmnop1234", "ghp_ABCDEFGHIJKLMNOPQRSTU", "sk_live_abcdefgh1234567890"),
        *("https://u:p4ss@host/", "x?key=abc123&y", "Bearer abc.def"),
    ],
)
def test_what_looks_like_a_key_is_scrubbed(secret: str) -> None:
    assert "[removed]" in scrub(f"before {secret} after")
    assert scrub(f"before {secret} after").startswith("before ")


@pytest.mark.parametrize(
    "text",
    [
        *("gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022", "learning_rate=0.001"),
        *("skip_connect", "skewness_threshold", "hf_model_name", "sk-learn-pipeline", "pk_column"),
    ],
)
def test_ordinary_names_are_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_copies_leave_secrets_behind() -> None:
    extra = {"top_p": 0.5, "extra_headers": {"x": "y"}, "aws_secret_access_key": "z", "max_tokens": 3}
    client = LiteLLMClient("openai/x", api_key=KEY, extra=extra)
    for twin in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client)):
        assert (twin.model, twin.extra) == ("openai/x", {"top_p": 0.5, "max_tokens": 3})
        assert twin._api_key.reveal() is None
    assert KEY.encode() not in pickle.dumps(client)


def test_its_repr_names_the_model_and_no_secret() -> None:
    client = LiteLLMClient("openai/x", api_key=KEY, api_base="http://user:pass@host/v1")
    assert repr(client) == "LiteLLMClient('openai/x', api_base='http://[removed]@host/v1')"
    assert isinstance(client, Client)


def test_a_closed_client_may_be_used_again() -> None:
    with FaultServer() as server:
        client = client_of(server)

        async def twice() -> list[Reply]:
            first = await client.complete(REQUEST)
            await client.aclose()
            return [first, await client.complete(REQUEST)]

        assert [reply.text for reply in run_sync(twice)] == ['{"x": 1}'] * 2


def test_closing_one_client_leaves_the_requests_of_others_alone() -> None:
    with FaultServer(Scripted(body=completion().body, delay=0.3)) as server:
        slow = client_of(server)
        future = submit(lambda: slow.complete(REQUEST))
        assert server.arrived.wait(10)
        run_sync(client_of(server).aclose)
        assert future.result(10).text == '{"x": 1}'


def test_many_requests_at_once_do_not_stall_the_loop() -> None:
    async def ten(client: LiteLLMClient) -> float:
        """The most CPU seconds of one turn of the loop: of its own thread, so that a busy machine does not count."""
        longest = 0.0
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.complete(REQUEST)) for _ in range(10)]
            while not all(task.done() for task in tasks):
                before = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - before)
        return longest

    with FaultServer() as server:
        gc.disable()  # a collection of what all earlier tests left takes half a second by itself
        try:
            assert run_sync(lambda: ten(client_of(server))) < 0.5
        finally:
            gc.enable()


def test_litellm_stays_quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ClientError):
        ask(failure(400))
    assert capfd.readouterr() == ("", "")
    assert [record.name for record in caplog.records if record.name.lower().startswith("litellm")] == []


def test_importing_the_client_imports_no_litellm_and_opens_no_socket() -> None:
    script = (
        "import sys\n"
        "events = []\n"
        "sys.addaudithook(lambda event, args: events.append(event) if event.startswith('socket.') else None)\n"
        "import optuna_llm.samplers.client as c\n"
        "c.LiteLLMClient('openai/x')\n"
        "sockets = [e for e in events if e in ('socket.connect', 'socket.bind', 'socket.getaddrinfo')]\n"
        "print([name for name in ('litellm', 'openai', 'xllamacpp') if name in sys.modules], sockets)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[] []"


def test_a_process_that_asked_ends_cleanly() -> None:
    script = (
        "import sys\n"
        "from optuna_llm.samplers.client import LiteLLMClient, Request\n"
        "from optuna_llm.samplers.client.llm_loop import run_sync\n"
        "client = LiteLLMClient('openai/x', api_base=sys.argv[1], api_key='k')\n"
        "request = Request(messages=[{'role': 'user', 'content': 'hi'}], schema={'type': 'object'})\n"
        "print(run_sync(lambda: client.complete(request)).text)\n"
    )
    with FaultServer() as server:
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", script, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, '{"x": 1}\n')
    (said,) = done.stderr.splitlines()
    assert said.endswith("] Loading LiteLLM, which takes some seconds")


def test_that_litellm_is_loaded_is_said_before_it_is_and_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[list[str]] = []

    def ready(model: str) -> Any:
        said.append([record.getMessage() for record in caplog.records])
        return object()

    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    monkeypatch.setattr(litellm_client, "ready", ready)
    monkeypatch.setattr(litellm_client, "require_tier", lambda *_: None)
    monkeypatch.setattr(logs, "_said", set())
    with caplog.at_level(logging.INFO, logger="optuna_llm"):
        for name in ("openai/x", "openai/y"):
            run_sync(LiteLLMClient(name, api_key="k").warm_up)
    assert said == [["Loading LiteLLM, which takes some seconds"]] * 2


def test_a_place_is_unreached_until_anything_answers_there() -> None:
    with FaultServer(failure(503), completion()) as server:
        client = client_of(server)
        with pytest.raises(TransientError) as answered:
            run_sync(lambda: client.complete(REQUEST))
        nowhere = LiteLLMClient("openai/gpt-4o-mini", api_base=server.url, api_key=KEY, timeout=10.0)
    assert not answered.value.unreached
    for gone, unreached in ((nowhere, True), (client, False)):
        with pytest.raises(TransientError) as refused:
            run_sync(partial(gone.complete, REQUEST))
        assert refused.value.unreached == unreached
        assert ("check api_base" in str(refused.value)) == unreached


def test_a_server_that_takes_no_connection_is_given_up_before_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(Scripted(hang=True)) as server:  # which never shakes hands
        monkeypatch.setattr("optuna_llm.samplers.client.library.loading.CONNECT_SECONDS", 0.2)
        secure = server.url.replace("http://", "https://")
        client = LiteLLMClient("openai/gpt-4o-mini", api_base=secure, api_key=KEY, timeout=59.0)
        with pytest.raises(DeadlineExceededError) as late:
            run_sync(lambda: client.complete(REQUEST))
    assert late.value.unreached


def test_a_proxy_that_never_answers_is_given_up_before_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(Scripted(hang=True)) as proxy:
        monkeypatch.setattr("optuna_llm.samplers.client.library.loading.CONNECT_SECONDS", 0.2)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v1"))
        client = LiteLLMClient("openai/gpt-4o-mini", api_base="https://192.0.2.1/v1", api_key=KEY, timeout=58.0)
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError) as late:
            run_sync(lambda: client.complete(REQUEST))
        assert proxy.received
    assert late.value.unreached
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("answers_after", [5.0, 25.0])
def test_a_first_request_without_an_answer_is_said_once_while_it_waits(
    answers_after: float, caplog: pytest.LogCaptureFixture
) -> None:
    told: set[str] = set()

    async def ask() -> None:
        with told_of_silence("openai/m", once=told, seconds=60.0):
            await asyncio.sleep(answers_after)

    async def asks() -> None:
        await asyncio.gather(*[ask() for _ in range(3)])

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(asks())
    lines = [record.getMessage() for record in caplog.records if "has not answered" in record.getMessage()]
    assert len(lines) == (answers_after > 20)
    assert all("HTTPS_PROXY" in line and "after 60 s" in line for line in lines)


def test_the_first_request_alone_is_watched_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []

    def watch(model: str, **_: Any) -> contextlib.AbstractContextManager[None]:
        watched.append(model)
        return contextlib.nullcontext()

    monkeypatch.setattr(litellm_client, "told_of_silence", watch)
    with FaultServer(completion()) as server:
        client = LiteLLMClient("openai/m", api_base=server.url, api_key="k")
        for _ in range(2):
            run_sync(lambda: client.complete(REQUEST))
    assert watched == ["openai/m"]
