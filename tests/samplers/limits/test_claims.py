"""What a reply says about itself neither lifts a budget nor stalls a rate, however odd it is."""

import asyncio
import json
import math
from typing import Any

import anyio
import clock
import optuna
import pytest
from support import SPACE, SchemaModel, sampler

from optuna_llm import Budget, Limits, Reply, Request, Usage, UsageError, optimize_async
from optuna_llm.engine.records import Charge
from optuna_llm.engine.study.attributes import untracked_charges
from optuna_llm.samplers.client.protocol import Prices
from optuna_llm.samplers.limits.budget import Account, BudgetedClient
from optuna_llm.samplers.limits.claims import HIDDEN_PROMPT, LONGEST_COMPLETION, credible, most_tokens, within_reason
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack

REQUEST = Request(messages=[{"role": "user", "content": "x" * 400}], schema={"type": "object"}, max_tokens=100)
WORST = Charge(requests=1, tokens=most_tokens(REQUEST) + 100, usd=most_tokens(REQUEST) * 1e-3 + 0.2)


def usage(prompt: Any = 80, completion: Any = 20, **more: Any) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **more)


UNBELIEVABLE = [
    usage(-80),
    usage(-(10**12), 10**12),
    usage(80, -1),
    usage("80"),
    usage(None),
    usage(True),
    usage([80]),
    usage(math.nan),
    usage(80, math.inf),
    usage(10**12),
    usage(80, 10**30),
    {"prompt_tokens": 80, "completion_tokens": 20},
    "100 tokens",
    0,
]


class Claiming:
    """A model whose every reply says the same about itself."""

    def __init__(self, **claims: Any) -> None:
        self.claims = claims
        self.sent: list[float] = []

    async def prices(self) -> Prices:
        return Prices(prompt=1e-3, completion=2e-3)

    async def complete(self, _: Request) -> Reply:
        self.sent.append(asyncio.get_running_loop().time())
        return Reply(**{"text": "{}", **self.claims})

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("claimed", UNBELIEVABLE, ids=repr)
def test_a_usage_that_cannot_be_counts_in_full(claimed: Any) -> None:
    account = Account(Budget(usd=9, tokens=99_999))
    reply = clock.run(BudgetedClient(Claiming(usage=claimed), account).complete(REQUEST))
    assert reply.usage is None
    assert account.statistics().spent == WORST


@pytest.mark.parametrize("cost", [-5.0, math.nan, math.inf, -math.inf, 1e9, "0.01", True, [0.1], {}])
def test_a_cost_that_cannot_be_follows_from_the_prices(cost: Any) -> None:
    account = Account(Budget(usd=9))
    clock.run(BudgetedClient(Claiming(usage=usage(cost=cost)), account).complete(REQUEST))
    assert account.statistics().spent.usd == pytest.approx(0.12)


@pytest.mark.parametrize("cached", [-3, 10**9, None, "5", math.nan])
def test_no_more_can_be_cached_or_written_than_was_sent(cached: Any) -> None:
    found = credible(Reply(text="{}", usage=usage(cached_tokens=cached, written_tokens=cached))).usage
    assert found is not None
    assert 0 <= found.cached_tokens <= 80
    assert 0 <= found.written_tokens <= 80


def test_no_token_is_both_read_from_the_cache_and_written_into_it() -> None:
    found = credible(Reply(text="{}", usage=usage(cached_tokens=60, written_tokens=60))).usage
    assert found is not None
    assert (found.cached_tokens, found.written_tokens) == (60, 20)


def test_what_can_be_is_left_as_it_is() -> None:
    reply = Reply(text="{}", model="m", finish_reason="stop", usage=usage(cost=0.5), latency=2.0, quota={"a": "1"})
    assert credible(reply) == reply
    assert credible(Reply(text="{}")) == Reply(text="{}")


@pytest.mark.parametrize("odd", [42, None, ["m"], {"a": 1}, 1.5, ""])
def test_what_should_be_words_and_is_not_is_unknown(odd: Any) -> None:
    reply = credible(Reply(text="{}", model=odd, finish_reason=odd, latency=-1.0, quota=odd))
    assert reply == Reply(text="{}", quota=None)


def test_a_quota_of_other_things_than_words_is_left_out() -> None:
    quota: Any = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": 6, 7: "8"}
    assert credible(Reply(text="{}", quota=quota)).quota == {"x-ratelimit-remaining-tokens": "5"}


@pytest.mark.parametrize(
    "claimed",
    [usage(9_000_000), usage(80, 9_000_000), usage(10**12), usage(-(10**9)), usage(80, LONGEST_COMPLETION)],
    ids=repr,
)
def test_no_claim_stalls_a_rate(claimed: Usage) -> None:
    """A debt is never more than a minute's tokens, and no request is refused for what another one said."""
    model = Claiming(usage=claimed)

    async def main() -> None:
        stack = ClientStack(model, Limiter(Limits(tokens_per_minute=30_000)), Account())
        for _ in range(4):
            calls = stack.calls()
            async with calls.turn():
                await calls.complete(REQUEST)
                await calls.complete(REQUEST)

    clock.run(main())
    assert len(model.sent) == 8
    gaps = [later - earlier for earlier, later in zip(model.sent, model.sent[1:], strict=False)]
    assert max(gaps) <= 125  # a minute's worth, at a pace that is half the rate at least


@pytest.mark.parametrize("headers", [True, False])
def test_a_claim_makes_no_pause_of_headers_that_leave_enough(headers: bool) -> None:
    left = {"x-ratelimit-remaining-tokens": "900000", "x-ratelimit-reset-tokens": "59s"}
    model = Claiming(usage=usage(9_000_000), quota=left if headers else None)

    async def main() -> float:
        stack = ClientStack(model, Limiter(), Account())
        began = clock.now()
        for _ in range(3):
            await stack.calls().complete(REQUEST)
        return clock.now() - began

    assert clock.run(main()) < 1


def test_a_prompt_that_really_is_too_large_is_still_refused() -> None:
    async def main() -> None:
        stack = ClientStack(Claiming(usage=usage()), Limiter(Limits(tokens_per_minute=1000)), Account())
        await stack.calls().complete(REQUEST)
        await stack.calls().complete(Request(messages=[{"role": "user", "content": "x" * 9999}], schema={}))

    with pytest.raises(UsageError, match="tokens_per_minute"):
        clock.run(main())


def test_reason_is_a_prompts_bytes_and_the_longest_reply() -> None:
    found = within_reason(REQUEST, usage(5_000_000, 5_000_000))
    assert (found.prompt_tokens, found.completion_tokens) == (most_tokens(REQUEST) + HIDDEN_PROMPT, LONGEST_COMPLETION)


@pytest.mark.parametrize("model", [42, ["m"], None])
@pytest.mark.parametrize("claimed", [usage(-5, cost=-1.0), usage(10**15), "many"])
def test_a_run_with_odd_claims_ends_well_and_its_records_can_be_read(model: Any, claimed: Any) -> None:
    answers = SchemaModel()

    def odd(request: Request) -> Reply:
        return Reply(text=answers(request).text, model=model, usage=claimed, latency=math.nan)

    study = optuna.create_study(sampler=sampler(odd, budget=Budget(requests=3)))
    report = anyio.run(lambda: optimize_async(study, lambda _: 0.0, n_trials=9, search_space=SPACE))
    assert (report.stop_reason, report.n_complete, report.llm_calls, report.cost) == ("budget", 3, 3, None)
    (in_full,) = untracked_charges(study.user_attrs).values()  # as the budget counted them
    assert report.tokens == in_full.tokens > 3 * most_tokens(answers.requests[0])
    for trial in study.trials:
        record = trial.user_attrs["llm"]
        assert isinstance(record["model"], str)
        assert record["usage"] is None
        assert json.loads(json.dumps(record, allow_nan=False)) == record
