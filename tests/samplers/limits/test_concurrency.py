"""The number of open requests follows what the provider bears."""

import pytest

from optuna_llm.samplers.limits.concurrency import COOLDOWN_SECONDS, Window


def test_without_a_limit_it_is_never_full() -> None:
    window = Window(None)
    window.active = 1000
    assert not window.full


def test_a_refusal_halves_what_was_used() -> None:
    window = Window(None)
    window.active = 40
    window.throttled(0.0)
    assert window.limit == 20


def test_refusals_of_one_moment_count_once() -> None:
    window = Window(64)
    window.active = 64
    for moment in range(10):
        window.throttled(moment * COOLDOWN_SECONDS / 20)
    assert window.limit == 32
    window.throttled(COOLDOWN_SECONDS)
    assert window.limit == 16


def test_it_never_falls_below_one() -> None:
    window = Window(1)
    window.active = 1
    window.throttled(0.0)
    assert window.limit == 1


@pytest.mark.parametrize(("active", "grown"), [(10, 11), (9, 10)])
def test_it_grows_by_one_for_a_round_of_replies_and_only_while_it_is_used(active: int, grown: int) -> None:
    window = Window(20)
    window.active = 20
    window.throttled(0.0)
    window.active = active
    for _ in range(10):
        window.succeeded()
    assert window.limit == grown


def test_it_never_grows_past_what_was_configured() -> None:
    window = Window(2)
    window.active = 2
    for _ in range(10):
        window.succeeded()
    assert window.limit == 2


def test_a_new_bound_keeps_what_was_learned_if_that_is_tighter() -> None:
    window = Window(20)
    window.active = 20
    window.throttled(0.0)
    window.set_most(15)
    assert window.limit == 10
    window.set_most(5)
    assert window.limit == 5


def test_a_window_says_where_it_stands() -> None:
    assert repr(Window(3)) == "Window(active=0, limit=3)"
