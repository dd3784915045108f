"""Requests are paced by aiolimiter; what is given back is neither lost nor counted twice."""

import asyncio
import bisect
import random

import clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optuna_llm.samplers.limits.bucket import LONG_WINDOW
from optuna_llm.samplers.limits.request_pace import RequestPace


def busiest(times: list[float], window: float) -> int:
    """The most that any window holds, of times in ascending order."""
    return max((bisect.bisect_left(times, start + window) - n for n, start in enumerate(times)), default=0)


@given(st.integers(0, 10_000), st.sampled_from([3, 30, 90]), st.floats(0, 1))
@settings(max_examples=10)
def test_no_minute_holds_more_than_the_rate_though_many_are_given_back(seed: int, rate: int, unsent: float) -> None:
    rng = random.Random(seed)

    async def main() -> list[float]:
        pace, sent = RequestPace(None), []
        await pace.set_rate(rate)
        for _ in range(3 * rate):
            acquired = await pace.acquire()
            if rng.random() < unsent:
                await asyncio.sleep(rng.random() * 60 / rate)
                pace.give_back(acquired)
            else:
                sent.append(clock.now())
        return sent

    assert busiest(clock.run(main()), LONG_WINDOW) <= rate


@pytest.mark.parametrize("held", [0.0, 20.0])
def test_a_request_that_was_given_back_costs_only_the_time_for_which_it_was_held(held: float) -> None:
    async def main() -> tuple[float, float]:
        pace = RequestPace(None)
        await pace.set_rate(1)
        acquired = await pace.acquire()
        await asyncio.sleep(held)
        pace.give_back(acquired)
        began = clock.now()
        next_one = await pace.acquire()
        return next_one - began, await pace.acquire() - next_one

    waited, gap = clock.run(main())
    assert waited == pytest.approx(0, abs=1)
    assert gap > 59


def test_a_rate_that_changes_again_and_again_lets_none_through_at_once() -> None:
    async def main() -> float:
        pace = RequestPace(None)
        await pace.set_rate(60)
        await pace.acquire()
        began = clock.now()
        for rate in (30, 60) * 10:
            await pace.set_rate(rate)
            await pace.acquire()
        return clock.now() - began

    assert clock.run(main()) > 20


def test_a_cancelled_wait_costs_nothing() -> None:
    async def main() -> float:
        pace = RequestPace(None)
        await pace.set_rate(60)
        await pace.acquire()
        began = clock.now()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pace.acquire()
        await pace.acquire()
        return clock.now() - began

    assert clock.run(main()) < 1.2


def test_it_says_how_fast_it_is() -> None:
    assert repr(RequestPace(600)).startswith("RequestPace(600 per minute")
