"""The number of open requests follows what the provider bears."""

import pytest

from optuna_llm.samplers.limits.concurrency import COOLDOWN_SECONDS, ConcurrencyLimit


def test_without_a_limit_it_is_never_full() -> None:
    bound = ConcurrencyLimit(None)
    bound.active = 1000
    assert not bound.full


def test_a_refusal_halves_what_was_used() -> None:
    bound = ConcurrencyLimit(None)
    bound.active = 40
    bound.refused(0.0)
    assert bound.limit == 20


def test_refusals_of_one_moment_count_once() -> None:
    bound = ConcurrencyLimit(64)
    bound.active = 64
    for moment in range(10):
        bound.refused(moment * COOLDOWN_SECONDS / 20)
    assert bound.limit == 32
    bound.refused(COOLDOWN_SECONDS)
    assert bound.limit == 16


def test_it_never_falls_below_one() -> None:
    bound = ConcurrencyLimit(1)
    bound.active = 1
    bound.refused(0.0)
    assert bound.limit == 1


@pytest.mark.parametrize(("active", "grown"), [(10, 11), (9, 10)])
def test_it_grows_by_one_for_a_round_of_replies_and_only_while_it_is_used(active: int, grown: int) -> None:
    bound = ConcurrencyLimit(20)
    bound.active = 20
    bound.refused(0.0)
    bound.active = active
    for _ in range(10):
        bound.succeeded()
    assert bound.limit == grown


def test_it_never_grows_past_what_was_configured() -> None:
    bound = ConcurrencyLimit(2)
    bound.active = 2
    for _ in range(10):
        bound.succeeded()
    assert bound.limit == 2


def test_a_new_bound_keeps_what_was_learned_if_that_is_tighter() -> None:
    bound = ConcurrencyLimit(20)
    bound.active = 20
    bound.refused(0.0)
    bound.set_most(15)
    assert bound.limit == 10
    bound.set_most(5)
    assert bound.limit == 5


def test_a_bound_says_where_it_stands() -> None:
    assert repr(ConcurrencyLimit(3)) == "ConcurrencyLimit(active=0, limit=3)"
