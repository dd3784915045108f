"""The way from an ask to a model: what is shared, what a turn is for, what it costs."""

import asyncio
import copy
import gc
import logging
import pickle
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import clock
import optuna
import pytest
from support import SPACE, SchemaModel, Script, prompt, sampler

from optuna_llm import (
    AuthenticationError,
    Budget,
    ClientError,
    FunctionClient,
    Limits,
    LiteLLMClient,
    LLMGuidedSampler,
    RecordingClient,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    Usage,
    UsageError,
    optimize_async,
)
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.protocol import Prices
from optuna_llm.samplers.client.resolve import resolve
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack, limits_of

REQUEST = Request(messages=[{"role": "user", "content": "?"}], schema={"type": "object"})


def stack(model: Any, limits: Limits | None = None) -> tuple[ClientStack, Limiter]:
    limiter = Limiter(limits or Limits())
    return ClientStack(FunctionClient(model), limiter, Account()), limiter


def test_a_turn_is_used_by_the_first_request_and_later_ones_wait_anew() -> None:
    async def main() -> None:
        made, limiter = stack(lambda _: "{}", Limits(max_in_flight=1))
        calls = made.calls()
        async with calls.turn():
            assert limiter.statistics().active == 1
            await calls.complete(REQUEST)
            assert limiter.statistics().active == 0
            await calls.complete(REQUEST)
        assert limiter.statistics().granted == 2
        assert calls.spent.requests == 2

    clock.run(main())


def test_a_crowd_that_begins_together_does_not_send_together() -> None:
    """Nothing is known of the tokens of a first request, and all the same the rate holds."""
    sent: list[float] = []

    async def main() -> None:
        async def model(_: Request) -> Reply:
            sent.append(clock.now())
            await asyncio.sleep(0.5)
            return Reply(text="{}", usage=Usage(prompt_tokens=180, completion_tokens=20))

        made, _ = stack(model, Limits(tokens_per_minute=60_000))

        async def ask() -> None:
            calls = made.calls()
            async with calls.turn():
                await calls.complete(REQUEST)

        await asyncio.gather(*(ask() for _ in range(64)))

    clock.run(main())
    assert max(sum(start <= at < start + 1 for at in sent) for start in sent) <= 8


def test_a_prompt_larger_than_a_minutes_tokens_is_refused_before_it_is_sent() -> None:
    model = Script("{}")

    async def main() -> None:
        made, limiter = stack(model, Limits(tokens_per_minute=2500))
        calls = made.calls()
        large = Request(messages=[{"role": "user", "content": "x" * 10_000}], schema={})
        with pytest.raises(UsageError, match="tokens_per_minute=2500"):
            async with calls.turn():
                await calls.complete(large)
        assert limiter.statistics().active == 0

    clock.run(main())
    assert model.requests == []


def test_a_turn_that_is_not_used_is_given_back() -> None:
    async def main() -> None:
        made, limiter = stack(lambda _: "{}", Limits(max_in_flight=1, requests_per_minute=1))
        for _ in range(5):
            async with made.calls().turn():
                pass
        assert (limiter.statistics().active, limiter.statistics().granted) == (0, 0)

    clock.run(main())


def test_a_retry_waits_for_a_slot_of_its_own_and_holds_none_while_it_waits() -> None:
    seen: list[int] = []

    async def main() -> None:
        def model(_: Request) -> Any:
            seen.append(limiter.statistics().active)
            if len(seen) == 1:
                raise TransientError("down", retry_after=5.0)
            return "{}"

        made, limiter = stack(model, Limits(max_in_flight=1))
        calls = made.calls()
        async with calls.turn():
            task = asyncio.ensure_future(calls.complete(REQUEST))
            await asyncio.sleep(2)
            assert limiter.statistics().active == 0
            await task
        assert limiter.statistics().granted == 2

    clock.run(main())
    assert seen == [1, 1]


def test_what_the_server_asks_to_wait_holds_up_everybody() -> None:
    async def main() -> float:
        answers = [ThrottledError("slow down", retry_after=20.0)]

        def model(_: Request) -> Any:
            if answers:
                raise answers.pop()
            return "{}"

        made, _ = stack(model)
        began = clock.now()
        first = asyncio.ensure_future(made.calls().complete(REQUEST))
        await asyncio.sleep(1)
        await made.calls().complete(REQUEST)
        other = clock.now() - began
        await first
        return other

    assert clock.run(main()) == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("error", [AuthenticationError("no"), ClientError("odd", status=400), RuntimeError("own")])
def test_fatal_errors_are_sent_once_and_leave_nothing_held(error: Exception) -> None:
    sent = 0

    def model(_: Request) -> Any:
        nonlocal sent
        sent += 1
        raise error

    async def main() -> None:
        made, limiter = stack(model, Limits(max_in_flight=1))
        calls = made.calls()
        with pytest.raises(type(error)):
            async with calls.turn():
                await calls.complete(REQUEST)
        assert limiter.statistics().active == 0

    clock.run(main())
    assert sent == 1


def test_a_cancelled_request_leaves_nothing_held() -> None:
    async def main() -> None:
        async def model(_: Request) -> str:
            await asyncio.sleep(3600)
            return "{}"

        made, limiter = stack(model, Limits(max_in_flight=1))
        account = made.account
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await made.calls().complete(REQUEST)
        assert limiter.statistics().active == 0
        assert account.statistics().reserved.requests == 0

    clock.run(main())


def test_quota_headers_pause_the_next_request() -> None:
    quota = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "15s"}

    async def main() -> float:
        made, _ = stack(lambda _: Reply(text="{}", quota=quota))
        began = clock.now()
        await made.calls().complete(REQUEST)
        await made.calls().complete(REQUEST)
        return clock.now() - began

    assert clock.run(main()) == pytest.approx(15, abs=0.01)


def test_a_request_reaches_the_client_as_it_is() -> None:
    model = Script("{}")
    request = Request(messages=[], schema={}, metadata={"role": "x"})

    async def main() -> None:
        made, _ = stack(model)
        calls = made.calls()
        async with calls.turn():
            await calls.complete(request)

    clock.run(main())
    assert model.requests[0] is request


def test_samplers_of_one_client_and_of_one_model_string_share_a_limiter() -> None:
    client = FunctionClient(lambda _: "{}")
    assert limits_of(client) is limits_of(client)
    assert limits_of(client) is not limits_of(FunctionClient(lambda _: "{}"))
    assert limits_of(resolve("openai/gpt-5-mini")) is not limits_of(resolve("openai/gpt-5"))
    one = LLMGuidedSampler("openai/gpt-5-mini", limits=Limits(requests_per_minute=7))
    other = pickle.loads(pickle.dumps(one))
    assert limits_of(resolve("openai/gpt-5-mini")).limiter.limits == Limits(requests_per_minute=7)
    assert copy.deepcopy(other)._stack is not one._stack


def test_a_client_that_nobody_uses_any_more_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "asyncio")  # a record about a slow task would keep the task, and so the client
    client = FunctionClient(SchemaModel())
    sampler = LLMGuidedSampler(client, search_space=SPACE, budget=Budget(requests=9))
    study = optuna.create_study(sampler=sampler)
    assert len(anyio.run(sampler.propose, study)) == 1
    known = weakref.ref(client)
    del client, study, sampler
    for _ in range(5):  # the task of the ask leaves the LLM loop
        run_sync(partial(asyncio.sleep, 0))
    gc.collect()
    assert known() is None


def test_a_client_that_cannot_be_a_key_is_shared_all_the_same() -> None:
    class Odd:
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

        async def complete(self, request: Request) -> Reply:
            return Reply(text="{}")

        async def aclose(self) -> None:
            """Nothing is held."""

    client = Odd()
    assert limits_of(client) is limits_of(client)


def test_a_prompt_is_written_when_its_turn_comes_not_when_it_was_asked_for() -> None:
    """Two workers, one request at a time: the second prompt shows what the first came to."""
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, limits=Limits(max_in_flight=1)))

    async def objective(trial: Any) -> float:
        return float(trial.params["momentum"])

    anyio.run(lambda: optimize_async(study, objective, n_trials=2, n_workers=2, search_space=SPACE))
    first, second = model.requests
    shown = ["reserved", "running", "\n0,"]
    assert not any(word in prompt(first) for word in shown)
    assert any(word in prompt(second) for word in shown)


def test_a_prompt_that_is_too_long_is_written_anew_with_half_the_history() -> None:
    good = SchemaModel()
    limit = 0

    def model(request: Request) -> Any:
        if limit and len(prompt(request)) > limit:
            raise ClientError("too long", status=400, code="context_length_exceeded")
        return good(request)

    study = optuna.create_study(sampler=sampler(model))

    def run(n: int) -> None:
        anyio.run(lambda: optimize_async(study, lambda trial: trial.number, n_trials=n, search_space=SPACE))

    run(80)
    limit = len(good.prompts[-1]) - 100
    run(1)
    assert len(good.prompts[-1]) < limit


def test_limits_and_budgets_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="limits must be a Limits"):
        LLMGuidedSampler("openai/gpt-5-mini", limits=60)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="budget must be a Budget"):
        LLMGuidedSampler("openai/gpt-5-mini", budget=5.0)  # type: ignore[arg-type]


def test_recorded_and_unrecorded_processes_of_one_model_divide_its_rates(tmp_path: Path) -> None:
    one, other = (LiteLLMClient(f"openai/{name}") for name in ("gpt-5-mini", "gpt-5"))
    models = [
        LLMGuidedSampler(RecordingClient(client, tmp_path / f"{n}")).model for n, client in enumerate((one, other))
    ]
    assert models == ["openai/gpt-5-mini", "openai/gpt-5"]
    assert LLMGuidedSampler("openai/gpt-5-mini").model == LLMGuidedSampler(one).model == models[0]


def test_functions_of_other_names_are_other_models() -> None:
    def one(_: Request) -> str:
        return "{}"

    def other(_: Request) -> str:
        return "{}"

    assert LLMGuidedSampler(FunctionClient(one)).model != LLMGuidedSampler(FunctionClient(other)).model
    assert LLMGuidedSampler(FunctionClient(one)).model == LLMGuidedSampler(FunctionClient(one)).model


class Cold:
    """A model whose first request waits until something is imported; `sent` are the times at which requests left."""

    def __init__(self, seconds: float, *failures: Exception) -> None:
        self.seconds = seconds
        self.failures = list(failures)
        self.sent: list[float] = []
        self._warm = False

    async def warm_up(self) -> None:
        if not self._warm:
            await asyncio.sleep(self.seconds)
            if self.failures:
                raise self.failures.pop()
            self._warm = True

    async def complete(self, _: Request) -> Reply:
        await self.warm_up()
        self.sent.append(clock.now())
        return Reply(text="{}", usage=Usage(prompt_tokens=180, completion_tokens=20))

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("seconds", [3.0, 60.0])
@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("limits", [Limits(requests_per_minute=600), Limits(tokens_per_minute=120_000)])
def test_those_who_wait_for_an_import_do_not_leave_together(limits: Limits, turns: bool, seconds: float) -> None:
    model = Cold(seconds)

    async def main() -> None:
        made = ClientStack(model, Limiter(limits), Account())

        async def ask(after: float) -> None:
            await asyncio.sleep(after)
            calls = made.calls()
            if turns:
                async with calls.turn():
                    await calls.complete(REQUEST)
            else:
                await calls.complete(REQUEST)

        await asyncio.gather(*(ask(after / 10) for after in range(40)))

    clock.run(main())
    assert len(model.sent) == 40
    assert max(sum(start <= at < start + 0.25 for at in model.sent) for start in model.sent) <= 4
    assert max(sum(start <= at < start + 2 for at in model.sent) for start in model.sent) <= 22


def test_a_warm_up_that_fails_or_is_cancelled_leaves_nothing_held() -> None:
    model = Cold(5.0, ImportError("no such library"))

    async def main() -> None:
        made = ClientStack(model, Limiter(Limits(requests_per_minute=60, max_in_flight=1)), Account())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await made.calls().complete(REQUEST)
        with pytest.raises(ImportError):
            await made.calls().complete(REQUEST)
        began = clock.now()
        await made.calls().complete(REQUEST)
        assert clock.now() - began == pytest.approx(5)
        assert made.limiter.statistics().granted == len(model.sent) == 1
        assert made.limiter.statistics().active == made.limiter.statistics().waiting == 0

    clock.run(main())


def test_a_recorded_client_warms_up_as_the_one_inside_it(tmp_path: Path) -> None:
    assert RecordingClient(Cold(1.0), tmp_path / "run.jsonl").capabilities.warm_up.__name__ == "warm_up"


@pytest.mark.parametrize(("prices", "lines"), [(Prices(), 1), (Prices(prompt=1e-6, completion=1e-6), 0)])
def test_that_nobody_knows_the_price_is_said_once(prices: Prices, lines: int, caplog: pytest.LogCaptureFixture) -> None:
    class Priced(FunctionClient):
        async def prices(self) -> Prices:
            return prices

    async def main() -> None:
        made = ClientStack(Priced(lambda _: "{}"), Limiter(), Account())
        for _ in range(3):
            await made.warm_up()

    with caplog.at_level(logging.INFO, "optuna_llm"):
        clock.run(main())
    said = [record for record in caplog.records if "is not known" in record.message]
    assert [record.levelname for record in said] == ["INFO"] * lines
