"""Candidates of an ask, as places on the axes of a space with and without branches."""

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from support import SPACE

from optuna_llm.samplers.guidance.candidates import around, crossed, least_tried, on_grid, uniform, without_inactive
from optuna_llm.samplers.space.axes import Axes, Axis
from optuna_llm.samplers.space.space import make_space

AXES = Axes(make_space(SPACE))
BRANCHES = Axes(
    make_space(
        {
            "model": CategoricalDistribution(("forest", "svm")),
            "trees": IntDistribution(1, 100),
            "C": FloatDistribution(0, 1),
            "seed": IntDistribution(0, 9),
        }
    )
)
NAN = math.nan


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bin_of(axis: Axis, place: float) -> int:
    """Which of the equal parts of an axis a place is in."""
    return round(place) if axis.choices else min(axis.bins - 1, int(place * axis.bins))


def test_candidates_from_anywhere_reach_every_part_and_choice() -> None:
    found = uniform(AXES, rng(), 400)
    for column, axis in enumerate(AXES.all):
        assert {bin_of(axis, place) for place in found[:, column]} == set(range(axis.bins))


def test_what_is_tried_one_after_the_other_fills_every_part_of_an_axis_once() -> None:
    taken = np.empty((0, len(AXES)))
    for seed in range(5):
        taken = np.concatenate([taken, least_tried(AXES, taken, rng(seed), 1)])
    for column, axis in enumerate(AXES.all):
        bins = [bin_of(axis, place) for place in taken[:, column]]
        assert max(map(bins.count, range(axis.bins))) == math.ceil(5 / axis.bins)


def test_changes_around_a_trial_are_on_the_wanted_axes_only_and_grow_with_the_region() -> None:
    base = np.array([0.5, 0.5, 0.5, 1.0])
    small, large = (around(AXES, base, [0, 3], length, rng(), 300) for length in (0.05, 0.8))
    for found in (small, large):
        assert (found[:, 1:3] == 0.5).all()
        assert ((found[:, 0] >= 0) & (found[:, 0] <= 1)).all()
        assert set(found[:, 3]) == {0.0, 1.0, 2.0}
    assert large[:, 0].std() > 4 * small[:, 0].std()


def test_a_crossed_candidate_has_only_places_of_its_parents() -> None:
    parents = np.array([[0.1, 0.2, NAN, 0.0], [0.3, NAN, 0.4, 2.0]])
    found = crossed(parents, rng(), 50)
    assert set(found[:, 0]) == {0.1, 0.3}
    assert set(found[:, 1]) == {0.2}
    assert np.isnan(found[:, 2]).all()
    assert set(found[:, 3]) == {0.0, 2.0}


def test_candidates_on_the_grid_are_values_of_the_space() -> None:
    found = on_grid(AXES, uniform(AXES, rng(), 50))
    for column, axis in enumerate(AXES.all):
        for place in found[:, column]:
            if axis.name != "lr":  # it has no grid
                assert axis.place(axis.value(place)) == pytest.approx(place)


def test_branches_are_known_from_the_trials() -> None:
    seen = np.array([[0.0, 0.5, NAN, 0.1], [1.0, NAN, 0.5, 0.2], [1.0, NAN, 0.6, 0.3]])
    found = without_inactive(BRANCHES, np.array([[0.0, 0.2, 0.2, 0.2], [1.0, 0.2, 0.2, 0.2]]), seen)
    assert np.isnan(found).tolist() == [[False, False, True, False], [False, True, False, False]]


def test_of_an_unseen_branch_nothing_is_left_out() -> None:
    seen = np.array([[0.0, 0.5, NAN, 0.1], [0.0, 0.7, 0.5, 0.2]])
    candidates = np.array([[1.0, 0.2, 0.2, 0.2], [0.0, 0.2, 0.2, 0.2]])
    assert not np.isnan(without_inactive(BRANCHES, candidates, seen)).any()


@pytest.mark.parametrize("high", [2, 3, 4, 5, 6, 10])
@pytest.mark.parametrize("log", [False, True])
def test_what_is_tried_next_is_in_the_very_part_that_is_untried(high: int, log: bool) -> None:
    axes = Axes(make_space({"n": IntDistribution(1, high + 1, log=log)}))
    (axis,) = axes.all
    whole = np.array(axis.grid)
    bins = np.array([bin_of(axis, place) for place in axis.grid])
    for index in set(bins.tolist()):
        taken = whole[bins != index][:, None]
        found = on_grid(axes, least_tried(axes, taken, np.random.default_rng(0), 50))
        assert {bin_of(axis, place) for place in found[:, 0]} == {index}


def test_places_on_a_log_scale_of_whole_numbers_are_those_of_its_values() -> None:
    axes = Axes(make_space({"n": IntDistribution(1, 1000, log=True)}))
    (axis,) = axes.all
    places = on_grid(axes, np.random.default_rng(0).random((200, 1)))[:, 0]
    assert places.tolist() == pytest.approx([axis.place(axis.value(place)) for place in places])
    assert axis.grid == ()
