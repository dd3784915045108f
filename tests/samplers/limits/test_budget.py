"""A cap holds under any interleaving, and nothing stays reserved."""

import asyncio
import gc
import random

import clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optuna_llm import (
    Budget,
    BudgetExhaustedError,
    FunctionClient,
    LLMGuidedSampler,
    Reply,
    Request,
    TransientError,
    Usage,
    UsageError,
)
from optuna_llm.engine.records import Charge
from optuna_llm.samplers.client.protocol import Prices
from optuna_llm.samplers.limits.budget import Account, BudgetedClient
from optuna_llm.samplers.limits.claims import most_tokens
from optuna_llm.samplers.limits.stack import limits_of

REQUEST = Request(messages=[{"role": "user", "content": "x" * 100}], schema={"type": "object"}, max_tokens=100)


class PricedModel:
    """Takes a second, and what `script` says: tokens, or an exception."""

    def __init__(self, *script: int | Exception) -> None:
        self._script = list(script) or [10]
        self.sent = 0

    async def prices(self) -> Prices | None:
        return Prices(prompt=1e-3, completion=2e-3)

    async def complete(self, request: Request) -> Reply:
        self.sent += 1
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        await asyncio.sleep(1)
        if isinstance(answer, Exception):
            raise answer
        return Reply(text="{}", usage=Usage(prompt_tokens=answer, completion_tokens=answer))

    async def aclose(self) -> None:
        """Nothing is held."""


@given(seed=st.integers(0, 10_000), cap=st.integers(0, 30_000), dollars=st.floats(0, 40), requests=st.integers(0, 120))
@settings(max_examples=40, deadline=None)
def test_no_interleaving_of_a_hundred_calls_exceeds_the_caps(
    seed: int, cap: int, dollars: float, requests: int
) -> None:
    rng = random.Random(seed)
    account = Account(Budget(usd=dollars, tokens=cap, requests=requests))
    billed = Charge()

    class Random(PricedModel):
        async def complete(self, request: Request) -> Reply:
            nonlocal billed
            billed += Charge(requests=1)
            await asyncio.sleep(rng.random() * 3)
            if rng.random() < 0.2:
                raise TransientError("down")
            prompt, completion = rng.randint(1, 150), rng.randint(1, 100)
            billed += Charge(tokens=prompt + completion, usd=prompt * 1e-3 + completion * 2e-3)
            return Reply(text="{}", usage=Usage(prompt_tokens=prompt, completion_tokens=completion))

    client = BudgetedClient(Random(), account)

    async def one() -> None:
        await asyncio.sleep(rng.random() * 5)
        try:
            async with asyncio.timeout(rng.random() * 8):
                await client.complete(REQUEST)
        except (TransientError, TimeoutError, BudgetExhaustedError):
            pass
        held = account.statistics()
        total = held.spent + held.reserved
        assert total.tokens <= cap
        assert total.requests <= requests
        assert total.usd <= dollars * (1 + 1e-6)

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(100)))

    clock.run(main())
    state = account.statistics()
    assert state.spent.requests == billed.requests <= requests
    assert state.spent.tokens == billed.tokens <= cap
    assert state.spent.usd == pytest.approx(billed.usd)
    assert state.waiting == 0
    assert (state.reserved.requests, state.reserved.tokens) == (0, 0)
    assert state.reserved.usd == pytest.approx(0, abs=1e-9)


def test_the_last_request_that_could_exceed_the_cap_is_not_sent() -> None:
    model = PricedModel(50)
    client = BudgetedClient(model, Account(Budget(requests=2)))

    async def main() -> None:
        await client.complete(REQUEST)
        await client.complete(REQUEST)
        with pytest.raises(BudgetExhaustedError, match=r"2 requests.*raise Budget\(requests=...\)"):
            await client.complete(REQUEST)

    clock.run(main())
    assert model.sent == 2


def test_a_request_waits_while_only_reservations_stand_in_the_way() -> None:
    model = PricedModel(10)
    client = BudgetedClient(model, Account(Budget(tokens=600)))

    async def main() -> list[object]:
        return list(await asyncio.gather(*(client.complete(REQUEST) for _ in range(12)), return_exceptions=True))

    outcomes = clock.run(main())
    assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 12
    assert model.sent == 12


def test_a_waiting_request_that_is_cancelled_does_not_hold_up_the_others() -> None:
    client = BudgetedClient(PricedModel(10), Account(Budget(tokens=500)))

    async def main() -> None:
        first, second, third = (asyncio.ensure_future(client.complete(REQUEST)) for _ in range(3))
        await asyncio.sleep(0.5)
        assert client.account.statistics().waiting == 2
        second.cancel()
        await third
        assert first.done()

    clock.run(main())
    assert client.account.statistics().waiting == 0


def test_a_failed_request_counts_as_a_request_and_costs_nothing_else() -> None:
    account = Account(Budget(usd=10, tokens=10_000, requests=10))

    async def main() -> None:
        with pytest.raises(TransientError):
            await BudgetedClient(PricedModel(TransientError("down")), account).complete(REQUEST)

    clock.run(main())
    assert account.statistics().spent == Charge(requests=1)
    assert account.statistics().reserved == Charge()


def test_a_reply_that_does_not_say_what_it_took_counts_in_full() -> None:
    account = Account(Budget(tokens=10_000))

    async def main() -> None:
        await BudgetedClient(FunctionClient(lambda _: "{}"), account).complete(REQUEST)

    clock.run(main())
    assert account.statistics().spent.tokens > 200


def test_a_dollar_cap_needs_prices() -> None:
    client = BudgetedClient(FunctionClient(lambda _: "{}"), Account(Budget(usd=1)))

    async def main() -> None:
        await client.complete(REQUEST)

    with pytest.raises(UsageError, match="input_cost_per_token"):
        clock.run(main())


def test_a_dollar_cap_without_any_prices_to_ask_for_is_refused_before_the_first_ask() -> None:
    client = FunctionClient(lambda _: "{}")
    with pytest.raises(UsageError, match=r"cap something else, with Budget\(requests=\.\.\.\) or Budget\(tokens="):
        LLMGuidedSampler(client, budget=Budget(usd=1))
    assert not limits_of(client).account.capped


def test_a_cost_that_the_reply_does_not_name_follows_from_the_prices() -> None:
    account = Account(Budget(usd=1))

    async def main() -> None:
        await BudgetedClient(PricedModel(10), account).complete(REQUEST)

    clock.run(main())
    assert account.statistics().spent.usd == pytest.approx(0.03)


class ConstantCharge:
    """Spending of others, which its owner keeps."""

    def __init__(self, **charge: float) -> None:
        self._charge = Charge(**charge)  # type: ignore[arg-type]

    def __call__(self) -> Charge:
        return self._charge


def test_what_others_have_spent_on_the_study_counts() -> None:
    account = Account(Budget(requests=10))
    nine = ConstantCharge(requests=9)
    account.watch("study", nine)

    async def main() -> None:
        client = BudgetedClient(PricedModel(1), account)
        await client.complete(REQUEST)
        with pytest.raises(BudgetExhaustedError, match="10 requests"):
            await client.complete(REQUEST)

    clock.run(main())


def test_the_asker_knows_what_its_own_requests_took() -> None:
    account = Account()
    client, other = (BudgetedClient(PricedModel(7), account) for _ in range(2))

    async def main() -> None:
        await client.complete(REQUEST)
        await other.complete(REQUEST)

    clock.run(main())
    assert client.spent == Charge(requests=1, tokens=14)
    assert account.statistics().spent == Charge(requests=2, tokens=28)


@pytest.mark.parametrize("wrong", [{"usd": -1}, {"tokens": "many"}, {"requests": True}, {"usd": float("nan")}])
def test_caps_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Budget(**wrong)  # type: ignore[arg-type]


def test_no_tokenizer_makes_more_of_a_prompt_than_its_bytes() -> None:
    request = Request(messages=[{"role": "user", "content": "ü" * 100}], schema={"type": "object"})
    assert most_tokens(request) >= 200 + len('{"type": "object"}')


@pytest.mark.parametrize(
    ("budget", "before", "after"),
    [
        (Budget(), None, None),
        (Budget(requests=12), 12, 6),
        (Budget(requests=12, tokens=1_000), 12, 4),
        (Budget(requests=1_000, tokens=1_400), 1_000, 8),
        (Budget(tokens=650), None, 1),
        (Budget(usd=1.0), None, None),
        (Budget(requests=6), 6, 1),
    ],
)
def test_a_budget_says_for_how_many_more_proposals_it_is_good(
    budget: Budget, before: int | None, after: int | None
) -> None:
    account = Account(budget)
    assert account.proposals_left() == before
    account.settle(Charge(), Charge(requests=6, tokens=600))
    assert account.proposals_left() == after


def test_what_others_spent_on_the_study_counts_for_what_is_left() -> None:
    account = Account(Budget(requests=10))
    five = ConstantCharge(requests=5)
    account.watch("study", five)
    assert account.proposals_left() == 5


def test_what_others_spent_counts_as_long_as_the_study_is_there_and_once() -> None:
    account = Account(Budget(requests=10))
    charges = [ConstantCharge(requests=requests) for requests in (1, 2, 4)]
    for study, charge in zip(("one", "another", "one"), charges, strict=True):
        account.watch(study, charge)
    assert account.statistics().elsewhere.requests == 2 + 4
    del charge, charges[2]
    gc.collect()
    assert account.statistics().elsewhere.requests == 1 + 2
    charges.clear()
    gc.collect()
    assert account.statistics().elsewhere.requests == 0


@pytest.mark.parametrize(
    ("budget", "sent", "said"),
    [
        (Budget(usd=0.4), 0, r"\(\$0.4\) is too small for a first request: nothing is spent, .* may take \$0\.\d{4}, "),
        (Budget(tokens=600), 3, r"\(600 tokens\) has too little left for another request: \$0\.4500, 300 tokens, 3 "),
        (Budget(requests=1), 1, r"\(1 request\) is used up: \$0\.1500, 100 tokens, 1 request are spent, and the next"),
    ],
)
def test_why_a_request_is_not_sent_is_said_as_it_is(budget: Budget, sent: int, said: str) -> None:
    model = PricedModel(50)
    client = BudgetedClient(model, Account(budget))

    async def main() -> None:
        for _ in range(sent):
            await client.complete(REQUEST)
        with pytest.raises(BudgetExhaustedError, match=said):
            await client.complete(REQUEST)

    clock.run(main())
    assert model.sent == sent
