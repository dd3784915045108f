"""Ranges at the edges of what floats can tell, and values from before a parameter became what it is: asks go on."""

import functools
import itertools
import math
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial
from support import SchemaModel, prompt, sampler

from optuna_llm import optimize_async
from optuna_llm.samplers.space.axes import Axis
from optuna_llm.samplers.space.notation import format_value, in_words
from optuna_llm.samplers.space.values import nearest


def after(number: float, count: int = 1) -> float:
    for _ in range(count):
        number = math.nextafter(number, math.inf)
    return number


NARROW: list[BaseDistribution] = [
    FloatDistribution(1e-300, after(1e-300), log=True),
    FloatDistribution(1e300, after(1e300, 2), log=True),
    FloatDistribution(1e8, after(1e8, 3), log=True),
    FloatDistribution(5e-324, 1e-323, log=True),
    FloatDistribution(0, 5e-324),
    IntDistribution(2**53 - 1, 2**53, log=True),
    IntDistribution(2**52, 2**52 + 9, log=True),
]
LARGE: list[BaseDistribution] = [
    IntDistribution(0, 10**49),
    IntDistribution(1, 10**60, log=True),
    IntDistribution(-(10**300), 10**300),
]


@pytest.mark.parametrize("distribution", [*NARROW, *LARGE], ids=str)
@pytest.mark.parametrize("strategy", ["menu", "plain"])
def test_asks_go_on_in_any_range_that_is_admitted(distribution: BaseDistribution, strategy: str) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=strategy))
    space = {"x": distribution, "y": FloatDistribution(0, 1)}
    report = anyio.run(lambda: optimize_async(study, lambda trial: float(trial.number), n_trials=6, search_space=space))
    assert (report.n_complete, report.duplicates) == (6, 0)


@pytest.mark.parametrize("distribution", NARROW, ids=str)
def test_places_are_finite_and_in_order_and_values_inside(distribution: Any) -> None:
    axis = Axis("x", distribution)
    places = [axis.place(value) for value in (distribution.low, distribution.high)]
    assert places == [0.0, 1.0]
    for place in (0.0, 0.3, 1.0):
        assert distribution.low <= axis.value(place) <= distribution.high


@pytest.mark.parametrize("distribution", LARGE, ids=str)
def test_large_integers_are_written_with_all_their_digits(distribution: Any) -> None:
    value = nearest(distribution.high // 3, distribution)
    assert format_value(value, distribution) == str(value)
    assert f"to {distribution.high}" in in_words(distribution)
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    anyio.run(lambda: optimize_async(study, lambda trial: 1.0, n_trials=2, search_space={"x": distribution}))
    assert str(study.trials[0].params["x"]) in prompt(model.requests[1])
    assert study.trials[0].user_attrs["llm"]["repairs"] == []  # to round it as every storage does is none


KINDS: list[tuple[BaseDistribution, Any]] = [
    (FloatDistribution(0, 1), 0.5),
    (FloatDistribution(0.1, 10, log=True), 2.5),
    (FloatDistribution(0, 5, step=0.5), 4.5),
    (IntDistribution(-5, 9), -5),
    (CategoricalDistribution(("a", "b")), "a"),
    (CategoricalDistribution((1, 2, 3)), 3),
    (CategoricalDistribution((None, True)), None),
]


@pytest.mark.parametrize("strategy", ["menu", "plain"])
def test_former_values_of_another_kind_are_shown_and_hold_nothing_up(strategy: str) -> None:
    """Only trials that were added by hand can have them, and only in memory or in a journal."""
    for (before, value), (now, newer) in itertools.permutations(KINDS, 2):
        study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=strategy))
        for distribution, given in [(before, value)] * 3 + [(now, newer)]:
            study.add_trial(create_trial(params={"x": given}, distributions={"x": distribution}, value=1.0))
        space = {"x": now, "y": FloatDistribution(0, 1)}
        run = functools.partial(optimize_async, study, lambda trial: 1.0, n_trials=3, search_space=space)
        assert anyio.run(run).n_complete == 3
