"""What a server can do to us, through the whole line: the right error, few requests, nothing left held."""

import asyncio
import time
from dataclasses import replace
from functools import partial

import anyio
import clock
import optuna
import pytest
from fault_server import FaultServer, Scripted, completion, failure
from support import SPACE

from optuna_llm import (
    AuthenticationError,
    Budget,
    ClientError,
    DeadlineExceededError,
    FunctionClient,
    Limits,
    LiteLLMClient,
    LLMGuidedSampler,
    ModelNotFoundError,
    ProposalError,
    QuotaExceededError,
    Request,
    ThrottledError,
    TransientError,
    optimize_async,
)
from optuna_llm.samplers.client.llm_loop import run_sync, submit
from optuna_llm.samplers.limits import retrying_client as retry
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack

REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object", "properties": {}})
ATTEMPTS = 6
HTML = Scripted(body=b"<html>hi</html>", content_type="text/html")
CUT = Scripted(body=b'{"id": "c', promised=500)


pytestmark = pytest.mark.usefixtures("real_litellm")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


class Bench:
    """A line to one server, with limits and a budget to look at."""

    def __init__(self, server: FaultServer | str, timeout: float = 10.0) -> None:
        url = server if isinstance(server, str) else server.url
        self.limiter = Limiter(Limits(max_in_flight=4))
        self.account = Account(Budget(tokens=1_000_000))
        self.stack = ClientStack(
            LiteLLMClient("openai/m", api_base=url, api_key="k", timeout=timeout), self.limiter, self.account
        )

    async def ask(self) -> str:
        calls = self.stack.calls()
        async with calls.turn():
            return (await calls.complete(REQUEST)).text

    def check_nothing_is_held(self) -> None:
        assert self.limiter.statistics().active == 0
        assert self.limiter.statistics().waiting == 0
        assert self.account.statistics().reserved.tokens == 0
        assert self.account.statistics().waiting == 0


FAULTS: dict[str, tuple[Scripted, type[ClientError], int]] = {
    "401": (failure(401), AuthenticationError, 1),
    "402": (failure(402), QuotaExceededError, 1),
    "403": (failure(403), AuthenticationError, 1),
    "404": (failure(404, code="model_not_found"), ModelNotFoundError, 1),
    "408": (failure(408), TransientError, ATTEMPTS),
    "409": (failure(409), TransientError, ATTEMPTS),
    "413": (failure(413), ClientError, 1),
    "429 in seconds": (failure(429, retry_after="0.01"), ThrottledError, ATTEMPTS),
    "429 in ms": (failure(429, retry_after_ms="5"), ThrottledError, ATTEMPTS),
    "429 by a date that has passed": (
        failure(429, retry_after="Mon, 02 Nov 2020 12:00:30 GMT"),
        ThrottledError,
        ATTEMPTS,
    ),
    "429 without": (failure(429), ThrottledError, ATTEMPTS),
    "429 for an hour": (failure(429, retry_after="3600"), ThrottledError, 1),
    "429 for money": (failure(429, code="insufficient_quota"), QuotaExceededError, 1),
    "500": (failure(500), TransientError, ATTEMPTS),
    "502 in HTML": (Scripted(status=502, body=b"<html>", content_type="text/html"), TransientError, ATTEMPTS),
    "503": (failure(503), TransientError, ATTEMPTS),
    "529": (failure(529), TransientError, ATTEMPTS),
    "HTML 200": (HTML, ClientError, 1),
    "truncated JSON": (Scripted(body=b'{"id": "c'), TransientError, ATTEMPTS),
    "cut body": (CUT, TransientError, retry.UNREACHED_ATTEMPTS),
    "reset": (Scripted(reset=True), TransientError, retry.UNREACHED_ATTEMPTS),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_ends_in_its_error_after_its_requests(name: str) -> None:
    scripted, expected, requests = FAULTS[name]
    with FaultServer(scripted) as server:
        bench = Bench(server)
        began = time.monotonic()
        with pytest.raises(ClientError) as caught:
            run_sync(bench.ask)
        assert time.monotonic() - began < 10
        assert type(caught.value) is expected
        assert len(server.received) == requests
        assert bench.account.statistics().spent.requests == requests
        bench.check_nothing_is_held()


@pytest.mark.parametrize(
    "scripted", [Scripted(hang=True), Scripted(body=completion().body, drip=0.05)], ids=["hang", "slow drip"]
)
@pytest.mark.parametrize("answers", [0, 1])
def test_a_server_that_does_not_finish_is_tried_twice_if_it_has_ever_answered(answers: int, scripted: Scripted) -> None:
    with FaultServer(*[failure(503)] * answers, scripted) as server:
        bench = Bench(server, timeout=0.4)
        with pytest.raises(DeadlineExceededError):
            run_sync(bench.ask)
        assert len(server.received) == (3 if answers else 1)
        bench.check_nothing_is_held()


def test_a_server_that_is_not_there_is_tried_and_given_up() -> None:
    with FaultServer() as server:
        address = server.url
    bench = Bench(address)
    with pytest.raises(TransientError, match="connection failed"):
        run_sync(bench.ask)
    assert bench.account.statistics().spent.requests == retry.UNREACHED_ATTEMPTS
    bench.check_nothing_is_held()


def test_a_fault_that_passes_is_not_noticed() -> None:
    with FaultServer(failure(503), Scripted(reset=True), replace(HTML, status=502), completion()) as server:
        bench = Bench(server)
        assert run_sync(bench.ask) == '{"x": 1}'
        assert len(server.received) == 4


UNUSABLE: dict[str, Scripted] = {
    "empty choices": completion(choices=[]),
    "null content": completion(None),
    "refusal": completion(None, message={"refusal": "I cannot help with that"}),
    "length": completion('{"lr": 0.0', finish_reason="length"),
    "10 MB": completion("x" * 10_000_000),
    "prose": completion("I would take a learning rate of 0.1."),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_reply_that_is_no_configuration_is_asked_anew_and_then_an_error(name: str) -> None:
    with FaultServer(UNUSABLE[name]) as server:
        client = LiteLLMClient("openai/m", api_base=server.url, api_key="k", timeout=20)
        study = optuna.create_study(sampler=LLMGuidedSampler(client, max_reasks=1))
        run = partial(optimize_async, study, len, n_trials=1, search_space=SPACE, max_failed_proposals=1, patience=5)
        with pytest.raises(ProposalError, match="2 attempts"):
            anyio.run(run)
        assert len(server.received) == 2
        first, second = (received.body["messages"] for received in server.received)
        assert second[: len(first)] == first
    assert study.trials == []
    charges = [value for attribute, value in study.user_attrs.items() if attribute.startswith("llm_spending:")]
    assert [charge["requests"] for charge in charges] == [2]


def test_a_wrong_model_name_and_a_missing_usage_are_recorded_as_they_are() -> None:
    with FaultServer(completion(model="gpt-4o", usage=None)) as server:
        client = LiteLLMClient("openai/m", api_base=server.url, api_key="k")
        reply = run_sync(lambda: client.complete(REQUEST))
    assert reply.usage is None
    assert reply.model == "gpt-4o"


def test_an_outage_is_waited_out_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna_llm.engine.run.schedule.LONGEST_ASK_PAUSE", 0.01)
    good = completion('{"rationale": "r", "lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}')
    with FaultServer(*[failure(503)] * (2 * ATTEMPTS), good) as server:
        client = LiteLLMClient("openai/m", api_base=server.url, api_key="k")
        study = optuna.create_study(sampler=LLMGuidedSampler(client))
        report = anyio.run(
            lambda: optimize_async(study, lambda trial: trial.number, n_trials=1, search_space=SPACE, patience=60)
        )
        assert report.n_complete == 1
        assert len(server.received) == 2 * ATTEMPTS + 1


@pytest.mark.parametrize("scripted", [Scripted(hang=True), Scripted(body=completion().body, drip=0.05)])
def test_a_call_that_is_cancelled_hangs_up_and_leaves_nothing_held(scripted: Scripted) -> None:
    with FaultServer(scripted) as server:
        bench = Bench(server)
        future = submit(bench.ask)
        assert server.arrived.wait(10)
        future.cancel()
        assert server.hung_up.wait(10)
        run_sync(lambda: asyncio.sleep(0))
        bench.check_nothing_is_held()


@pytest.mark.parametrize("step", range(40))
def test_a_cancellation_at_any_await_leaves_nothing_held(step: int) -> None:
    """Two asks share one slot and a small budget; one is cancelled after so many turns of the loop."""
    failures = [TransientError("down"), ThrottledError("slow", retry_after=2.0)]

    async def model(_: Request) -> str:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop()
        await asyncio.sleep(1)
        await asyncio.sleep(0)
        return "{}"

    async def main() -> None:
        limiter, account = Limiter(Limits(max_in_flight=1, requests_per_minute=6000)), Account(Budget(tokens=3000))
        stack = ClientStack(FunctionClient(model), limiter, account)

        async def ask() -> None:
            calls = stack.calls()
            async with calls.turn():
                await calls.complete(REQUEST)

        first, second = asyncio.ensure_future(ask()), asyncio.ensure_future(ask())
        for _ in range(step):
            await asyncio.sleep(0 if step % 2 else 0.1)
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert second.exception() is None
        assert limiter.statistics().active == limiter.statistics().waiting == 0
        assert account.statistics().reserved.requests == account.statistics().reserved.tokens == 0

    clock.run(main())
