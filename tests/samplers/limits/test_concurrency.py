"""A bound on requests in flight learns from refusals, and is back soon."""

import pytest

from optuna_llm.samplers.limits.concurrency import COOLDOWN_SECONDS, PATIENT_ROUNDS, ConcurrencyLimit


def refused_at(used: int, most: int | None = None) -> ConcurrencyLimit:
    bound = ConcurrencyLimit(most)
    bound.active = used
    bound.refused(0.0)
    bound.active = 0
    return bound


def rounds(bound: ConcurrencyLimit, count: int) -> list[int | None]:
    """The limits after each of so many rounds of replies that use it up."""
    limits = []
    for _ in range(count):
        full = bound.limit or 0
        while bound.active < full:
            bound.enter()
        for _ in range(full):
            bound.succeeded()
            bound.active -= 1
        limits.append(bound.limit)
    return limits


def test_without_a_limit_it_is_never_full() -> None:
    bound = ConcurrencyLimit(None)
    bound.active = 1000
    assert not bound.full


@pytest.mark.parametrize(("used", "left"), [(40, 32), (5, 4), (2, 1), (1, 1)])
def test_a_refusal_leaves_most_of_what_was_used(used: int, left: int) -> None:
    assert refused_at(used).limit == left


def test_of_a_burst_it_keeps_what_the_provider_did_not_refuse() -> None:
    bound = ConcurrencyLimit(64)
    for active in range(64, 8, -1):  # 56 are refused, one after the other; the others go on
        bound.active = active
        bound.refused(0.0)
    assert bound.limit == 8


def test_refusals_of_one_moment_cut_once() -> None:
    bound = refused_at(40)
    for moment in range(1, 10):
        bound.active = 40 - moment
        bound.refused(moment * COOLDOWN_SECONDS / 20)
    assert bound.limit == 30  # what is still in flight, and not a cut for each
    bound.active = 30
    bound.refused(COOLDOWN_SECONDS)
    assert bound.limit == 24


def test_it_is_back_just_below_the_refused_level_in_a_few_rounds_and_stays_there_for_a_while() -> None:
    bound = refused_at(33)
    assert rounds(bound, 4) == [29, 30, 31, 32]
    assert rounds(bound, PATIENT_ROUNDS) == [32] * PATIENT_ROUNDS


def test_a_level_that_is_no_longer_refused_is_left_behind_faster_and_faster() -> None:
    bound = refused_at(10)
    rounds(bound, 1 + PATIENT_ROUNDS)
    assert rounds(bound, 5) == [10, 11, 13, 17, 25]


def test_a_deep_cut_is_made_good_in_few_rounds() -> None:
    bound = refused_at(64)
    for active in range(63, 1, -1):
        bound.active = active
        bound.refused(0.0)
    assert bound.limit == 1
    assert rounds(bound, 6)[-1] == 62


def test_it_grows_only_while_it_is_used_up() -> None:
    bound = refused_at(20)
    rounds(bound, 1)
    bound.active = 15
    for _ in range(100):
        bound.enter()
        bound.succeeded()
        bound.active -= 1
    assert bound.limit == 17


def test_it_never_grows_past_what_was_configured() -> None:
    assert rounds(ConcurrencyLimit(2), 10) == [2] * 10
    assert max(filter(None, rounds(refused_at(10, most=10), 40))) == 10


def test_a_new_bound_keeps_what_was_learned_if_that_is_tighter() -> None:
    bound = refused_at(20, most=20)
    bound.set_most(18)
    assert bound.limit == 16
    bound.set_most(5)
    assert bound.limit == 5


def test_a_bound_says_where_it_stands() -> None:
    assert repr(ConcurrencyLimit(3)) == "ConcurrencyLimit(active=0, limit=3)"
