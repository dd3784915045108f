"""What is known of a range that changes: all that was ever allowed, unless it was edited."""

import random
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm.engine.study.ranges import SETTLED, KnownRange

A, B, WIDE = FloatDistribution(0, 1), FloatDistribution(5, 9), FloatDistribution(0, 9)
STEPS = IntDistribution(0, 8, step=2)


def known(*distributions: BaseDistribution) -> BaseDistribution:
    """As in trials 0, 1, ...; the order in which they are read, and how often, makes no difference."""
    found = []
    for seed in range(4):
        numbers = [*range(len(distributions))] * 2
        if seed:
            random.Random(seed).shuffle(numbers)
        one = KnownRange()
        for number in numbers:
            one.add(number, distributions[number])
        found.append(one.distribution())
    assert all(other == found[0] for other in found)
    return found[0]


@pytest.mark.parametrize("highs", [[0.1, 0.9], [0.9, 0.1], [0.1, 0.9, 0.1, 0.5], [0.9, 0.5, 0.4, 0.3, 0.2, 0.1]])
def test_a_range_that_depends_on_another_parameter_is_all_that_was_allowed(highs: list[float]) -> None:
    assert known(*(FloatDistribution(0, high) for high in highs)) == FloatDistribution(0, max(highs))
    lows = [IntDistribution(round(-10 * high), 5) for high in highs]
    assert known(*lows) == IntDistribution(min(low.low for low in lows), 5)


@pytest.mark.parametrize("later", [1, SETTLED - 1, SETTLED, 10])
def test_a_range_that_was_edited_is_the_new_one_once_it_has_stayed(later: int) -> None:
    assert known(*[A] * 30, *[B] * later) == (B if later >= SETTLED else WIDE)


@pytest.mark.parametrize("between", [1, 5])
def test_a_range_that_comes_back_depends_on_something(between: int) -> None:
    assert known(*[A] * 9, *[B] * between, *[A] * 9) == WIDE


@pytest.mark.parametrize(
    ("distributions", "expected"),
    [
        ([A, FloatDistribution(0.1, 5, log=True)], FloatDistribution(0.1, 5, log=True)),
        ([A, IntDistribution(0, 5)], IntDistribution(0, 5)),
        ([CategoricalDistribution(("a",)), A], A),
        ([A, CategoricalDistribution(("a", "b"))], CategoricalDistribution(("a", "b"))),
        ([A, CategoricalDistribution(("a", "b")), B], WIDE),
        ([STEPS, IntDistribution(2, 20, step=2)], IntDistribution(0, 20, step=2)),
        ([STEPS, IntDistribution(1, 9, step=2)], IntDistribution(1, 9, step=2)),
        ([STEPS, IntDistribution(0, 9, step=3)], IntDistribution(0, 9, step=3)),
        ([FloatDistribution(0, 1, step=0.1), FloatDistribution(0, 2, step=0.1)], FloatDistribution(0, 2, step=0.1)),
        ([FloatDistribution(-1e308, 0), FloatDistribution(0, 1e308)], FloatDistribution(0, 1e308)),
        ([FloatDistribution(-float("inf"), 0), A], A),
    ],
    ids=str,
)
def test_only_ranges_of_one_kind_are_joined(distributions: Any, expected: BaseDistribution) -> None:
    assert known(*distributions) == expected
