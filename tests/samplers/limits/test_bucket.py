"""A bucket keeps to its rate over any window, and loses nothing of it."""

from hypothesis import given
from hypothesis import strategies as st

from optuna_llm.samplers.limits.bucket import LONG_WINDOW, SHORT_WINDOW, Bucket, pace_within


def admitted(bucket: Bucket, amounts: list[float], late: float = 0.0) -> list[tuple[float, float]]:
    """When each amount is let through, if all wait from the beginning and timers fire that late."""
    now, taken = 0.0, []
    for amount in amounts:
        wait = bucket.wait(now)
        now += wait + (late if wait else 0.0)
        bucket.take(amount, now)
        bucket.remember_size(amount, now)
        taken.append((now, amount))
    return taken


def busiest(taken: list[tuple[float, float]], window: float) -> float:
    """The most that any window holds; one that is largest begins with an amount."""
    return max(sum(amount for at, amount in taken if start <= at < start + window) for start, _ in taken)


@given(st.floats(30, 6000), st.floats(0, 0.04))
def test_no_minute_holds_more_requests_than_the_rate(per_minute: float, late: float) -> None:
    taken = admitted(Bucket(per_minute, now=0.0), [1.0] * min(3000, int(3 * per_minute)), late)
    assert busiest(taken, LONG_WINDOW) <= per_minute + 1e-6


def test_no_ten_seconds_hold_more_than_their_part_of_a_fast_rate() -> None:
    taken = admitted(Bucket(600, now=0.0), [1.0] * 400)
    assert busiest(taken, SHORT_WINDOW) <= 100


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_no_minute_holds_more_tokens_than_the_rate(amounts: list[int]) -> None:
    bucket = Bucket(200_000, now=0.0)
    taken = admitted(bucket, [20_000.0, *map(float, amounts)])
    assert busiest(taken, LONG_WINDOW) <= 200_000


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
