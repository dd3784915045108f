"""Parameters as axes of a unit cube, and configurations as points whose distance says how much they differ."""

import math
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from support import SPACE

from optuna_llm.samplers.space.axes import Axes, Axis, Embedding, squared_distances
from optuna_llm.samplers.space.space import make_space

AXES = Axes(make_space(SPACE))


@pytest.mark.parametrize("distribution", SPACE.values(), ids=SPACE)
def test_a_place_reads_back_as_its_value(distribution: Any) -> None:
    axis = Axis("x", distribution)
    for place in (0.0, 1.0) if axis.categorical else (0.0, 0.3, 1.0):
        value = axis.value(place)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert axis.value(axis.place(value)) == value


def test_ascending_numbers_among_choices_are_levels_with_neighbours() -> None:
    axis = Axis("batch", CategoricalDistribution((16, 32, 64, 128)))
    assert not axis.categorical
    assert [axis.place(value) for value in (16, 32, 64, 128)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [axis.value(place) for place in (0.0, 0.4, 0.6, 1.0)] == [16, 32, 64, 128]
    assert math.isnan(axis.place(48))


@pytest.mark.parametrize(
    "choices", [(64, 16, 32), (16, 64), (False, True, 2), ("a", "b", "c"), (1, 2, None), (1, 2, 2.5, "3")]
)
def test_other_choices_have_no_order(choices: tuple[Any, ...]) -> None:
    assert Axis("x", CategoricalDistribution(choices)).categorical


def test_a_value_outside_a_range_that_became_smaller_stands_at_its_end() -> None:
    assert Axis("x", FloatDistribution(0, 1)).place(7.0) == 1.0
    assert Axis("x", IntDistribution(1, 64, log=True)).place(8) == pytest.approx(0.5)


def test_distances_are_one_for_two_choices_and_for_the_ends_of_a_range() -> None:
    points = Embedding(AXES).points(
        np.array([[0.0, 0.5, 0.5, 0.0], [1.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.5, 2.0], [math.nan, 0.5, 0.5, math.nan]])
    )
    found = squared_distances(points, points)
    assert found[0, 1] == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(1.0)
    assert found[0, 3] == pytest.approx((0.25 + 0.25) + (0.5 + 0.25))
    assert np.diagonal(found) == pytest.approx(np.zeros(4))


def test_each_coordinate_has_the_axis_that_it_is_of() -> None:
    embedding = Embedding(AXES)
    assert embedding.owners.tolist() == [0, 1, 2, 3, 3, 3, 0, 1, 2, 3]
    assert embedding.points(np.zeros((3, 4))).shape == (3, 10)
