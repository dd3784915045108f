"""A long pause binds those who were there: nobody inherits it, and nobody waits for it in silence."""

import asyncio
import logging
from typing import Any

import anyio
import clock
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SPACE, SchemaModel, Script

from optuna_llm import FunctionClient, Limits, LLMGuidedSampler, Request, ThrottledError, ask_async, optimize_async
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.pauses import Pauses
from optuna_llm.samplers.limits.stack import ClientStack

REQUEST = Request(messages=[{"role": "user", "content": "?"}], schema={"type": "object"})
HOUR = 3600.0


def test_a_refusal_within_patience_is_waited_out_whoever_asks() -> None:
    pauses = Pauses()
    pauses.refuse(30, now=100)
    assert pauses.wait(110, patience=30) == 20
    assert pauses.wait(110, patience=30, seen=1) == 20
    assert pauses.wait(131, patience=30) == 0


def test_a_refusal_beyond_patience_is_raised_to_those_before_it_and_does_not_bind_those_after() -> None:
    pauses = Pauses()
    pauses.refuse(HOUR, now=100)
    with pytest.raises(ThrottledError) as raised:
        pauses.wait(160, patience=120, seen=0)
    assert raised.value.retry_after == HOUR - 60
    assert pauses.wait(160, patience=120, seen=pauses.refused) == 0


def test_a_short_refusal_after_a_long_one_binds_those_whom_the_long_one_does_not() -> None:
    pauses = Pauses()
    pauses.refuse(HOUR, now=0)
    seen = pauses.refused
    pauses.refuse(5, now=10)
    assert pauses.wait(11, patience=60, seen=seen) == 4
    assert pauses.wait(11, patience=2 * HOUR, seen=seen) == HOUR - 11


def test_a_rest_binds_everybody() -> None:
    pauses = Pauses()
    pauses.rest(40, now=0)
    assert pauses.wait(10, patience=1, seen=0) == 30


@given(refusals=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), max_size=20), patience=st.integers(0, 500))
def test_what_is_remembered_is_what_all_refusals_say(refusals: list[tuple[int, int]], patience: int) -> None:
    """What is forgotten of them changes no answer, for anybody."""
    pauses, now, ends = Pauses(), 0, []
    for gap, seconds in refusals:
        now += gap
        pauses.refuse(seconds, now)
        ends.append(now + seconds)
    for seen in range(len(ends) + 1):
        waits = [end - now for end in ends]
        if any(wait > patience for wait in waits[seen:]):
            with pytest.raises(ThrottledError):
                pauses.wait(now, patience=patience, seen=seen)
        else:
            expected = max([0.0, *(wait for wait in waits if wait <= patience)])
            assert pauses.wait(now, patience=patience, seen=seen) == pytest.approx(expected)


def stack(model: Any) -> ClientStack:
    return ClientStack(FunctionClient(model), Limiter(), Account())


def refused_once(seconds: float) -> Script:
    return Script(ThrottledError("quota used up", retry_after=seconds), "{}")


@pytest.mark.parametrize(("seconds", "patience"), [(HOUR, None), (130.0, 600.0), (50.0, 10.0), (3.0, 2.0)])
def test_those_who_wait_when_it_comes_are_told_at_once(seconds: float, patience: float | None) -> None:
    async def main() -> tuple[list[object], float]:
        async def model(_: Request) -> None:
            await asyncio.sleep(1)
            raise ThrottledError("quota used up", retry_after=seconds)

        made = stack(model)
        made.limiter.limits = Limits(max_in_flight=1)
        began = clock.now()
        asked = [made.calls(patience=patience).complete(REQUEST) for _ in range(4)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        return list(told), clock.now() - began

    told, took = clock.run(main())
    assert [type(one) for one in told] == [ThrottledError] * 4
    assert took == pytest.approx(1)


@pytest.mark.parametrize("seconds", [HOUR, 130.0, 86_400.0])
def test_who_comes_later_asks_for_itself(seconds: float) -> None:
    async def main() -> float:
        made = stack(refused_once(seconds))
        with pytest.raises(ThrottledError):
            await made.calls().complete(REQUEST)
        began = clock.now()
        await asyncio.gather(*(made.calls(patience=600).complete(REQUEST) for _ in range(3)))
        return clock.now() - began

    assert clock.run(main()) < 1


def test_who_comes_into_a_pause_that_it_waits_for_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> float:
        made = stack(refused_once(60.0))
        first = asyncio.ensure_future(made.calls().complete(REQUEST))
        await asyncio.sleep(1)
        caplog.clear()
        began = clock.now()
        later = [asyncio.ensure_future(made.calls().complete(REQUEST)) for _ in range(5)]
        await asyncio.gather(first, *later)
        return clock.now() - began

    with caplog.at_level(logging.WARNING):
        assert 59 <= clock.run(main()) <= 60
    (line,) = caplog.messages
    assert "Waiting 59 s" in line


def run(client: FunctionClient, patience: float) -> Any:
    study = optuna.create_study(sampler=LLMGuidedSampler(client))

    async def main() -> Any:
        with anyio.fail_after(20):
            return await optimize_async(
                study, lambda _: 0.0, n_trials=3, n_workers=2, patience=patience, search_space=SPACE
            )

    return anyio.run(main)


@pytest.mark.parametrize(("seconds", "patience"), [(HOUR, 600.0), (90.0, 60.0), (15.0, 1.0)])
def test_the_next_run_asks_for_itself(seconds: float, patience: float) -> None:
    client = FunctionClient(Script(ThrottledError("quota used up", retry_after=seconds), SchemaModel()))
    with pytest.raises(ThrottledError, match="quota used up"):
        run(client, patience)
    assert run(client, patience).n_complete == 3


def test_a_run_that_is_refused_again_ends_by_what_it_was_told_itself() -> None:
    client = FunctionClient(Script(ThrottledError("quota used up", retry_after=HOUR)))
    for _ in range(3):
        with pytest.raises(ThrottledError, match="quota used up"):
            run(client, 2.0)


def test_a_batch_and_study_optimize_inherit_nothing_either() -> None:
    client = FunctionClient(Script(ThrottledError("quota used up", retry_after=HOUR), SchemaModel()))
    with pytest.raises(ThrottledError):
        run(client, 2.0)
    study = optuna.create_study(sampler=LLMGuidedSampler(client, search_space=SPACE))

    async def batch() -> int:
        with anyio.fail_after(20):
            return len(await ask_async(study, 2, search_space=SPACE))

    assert anyio.run(batch) == 2
    study.optimize(lambda _: 0.0, n_trials=1)
