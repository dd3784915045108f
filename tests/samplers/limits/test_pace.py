"""The pace keeps to its rates and loses nothing of them; open requests follow what the provider bears."""

import asyncio
import bisect
import random

import clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optuna_llm.samplers.limits.pace import LONG_WINDOW, SHORT_WINDOW, Bucket, RequestPace, pace_within


def admitted(bucket: Bucket, amounts: list[float], late: float = 0.0) -> list[tuple[float, float]]:
    """When each amount is let through, if all wait from the beginning and timers fire that late."""
    now, taken = 0.0, []
    for amount in amounts:
        wait = bucket.wait(now)
        now += wait + (late if wait else 0.0)
        bucket.take(amount, now)
        bucket.send(amount, amount, now)
        taken.append((now, amount))
    return taken


def busiest_amount(taken: list[tuple[float, float]], window: float) -> float:
    """The most that any window holds; one that is largest begins with an amount."""
    return max(sum(amount for at, amount in taken if start <= at < start + window) for start, _ in taken)


@pytest.mark.slow
@given(st.floats(30, 6000), st.floats(0, 0.04))
def test_no_minute_holds_more_requests_than_the_rate(per_minute: float, late: float) -> None:
    taken = admitted(Bucket(per_minute, now=0.0), [1.0] * min(3000, int(3 * per_minute)), late)
    assert busiest_amount(taken, LONG_WINDOW) <= per_minute + 1e-6


def test_no_ten_seconds_hold_more_than_their_part_of_a_fast_rate() -> None:
    taken = admitted(Bucket(600, now=0.0), [1.0] * 400)
    assert busiest_amount(taken, SHORT_WINDOW) <= 100


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_no_minute_holds_more_tokens_than_the_rate(amounts: list[int]) -> None:
    bucket = Bucket(200_000, now=0.0)
    taken = admitted(bucket, [20_000.0, *map(float, amounts)])
    assert busiest_amount(taken, LONG_WINDOW) <= 200_000


def test_nearly_all_of_the_rate_is_used_though_timers_are_late() -> None:
    taken = admitted(Bucket(600, now=0.0), [1.0] * 1000, late=0.03)
    assert 1000 / taken[-1][0] >= 0.97 * 10


def test_a_large_amount_waits_no_longer_for_its_turn_than_a_small_one() -> None:
    small, large = Bucket(60_000, now=0.0), Bucket(60_000, now=0.0)
    for bucket in (small, large):
        bucket.take(5000, 0.0)
    assert small.wait(0.0) == large.wait(0.0) > 0


def test_what_was_not_needed_is_there_again_and_what_was_owed_is_waited_out() -> None:
    bucket = Bucket(60_000, now=0.0)
    bucket.take(2000, 0.0)
    owed = bucket.wait(0.0)
    bucket.give_back(1000, 0.0)
    assert bucket.wait(0.0) < owed / 1.9
    bucket.give_back(-3000, 0.0)
    assert bucket.wait(0.0) > owed


def test_an_idle_hour_gives_no_burst() -> None:
    bucket = Bucket(600, now=0.0)
    taken = admitted(bucket, [1.0])
    bucket.wait(3600.0)
    at_once = 0
    while bucket.wait(3600.0) == 0.0:
        bucket.take(1.0, 3600.0)
        at_once += 1
    assert taken
    assert at_once <= 2


def test_a_changed_rate_holds_from_then_on() -> None:
    bucket = Bucket(600, now=0.0)
    bucket.take(1.0, 0.0)
    bucket.set_rate(60)
    bucket.take(1.0, 0.0)
    assert bucket.wait(0.0) > 1.0


def test_the_pace_is_never_below_half_the_rate() -> None:
    assert pace_within(1.0, 1e9) == 0.5


def test_a_bucket_says_where_it_stands() -> None:
    assert "600 per minute" in repr(Bucket(600, now=0.0))


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
