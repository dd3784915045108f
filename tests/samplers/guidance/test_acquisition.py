"""A Gaussian process that is told trials, and says where better ones may be."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import create_trial

from optuna_llm.samplers.guidance.acquisition import (
    JUDGED,
    Scales,
    Surrogate,
    covariances,
    likely_scales,
    log_likelihoods,
    matern,
    responses,
    shortfall,
)
from optuna_llm.samplers.space.axes import Axes, squared_distances
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence

UNIT: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}

ONE = Scales(weights=np.array([4.0]), noise=1e-3)
NOTHING = np.empty((0, 1))
LINE = np.linspace(0, 1, 101)[:, None]


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def improvements(surrogate: Surrogate) -> np.ndarray:
    return surrogate.improvements(*surrogate.predict(LINE))


def test_it_expects_at_a_trial_about_what_the_trial_gave_and_little_of_far_places() -> None:
    points, losses = column(0.0, 0.5, 1.0), np.array([3.0, 1.0, 2.0])
    surrogate = Surrogate(points, responses(losses), ONE, NOTHING)
    means, deviations = surrogate.predict(np.concatenate([points, column(40.0)]))
    assert means[:3] == pytest.approx(responses(losses), abs=0.02)
    assert means[3] == pytest.approx(0.0, abs=1e-6)
    assert deviations[3] > 10 * deviations[:3].max()


def test_it_looks_near_the_better_trials() -> None:
    points = column(0.0, 0.2, 0.5, 0.8, 1.0)
    surrogate = Surrogate(points, responses((points[:, 0] - 0.35) ** 2), ONE, NOTHING)
    best = float(LINE[improvements(surrogate).argmax(), 0])
    assert best == pytest.approx(0.35, abs=0.08)


def test_what_is_in_flight_is_not_promising_any_more() -> None:
    points, values = column(0.0, 0.2, 0.8, 1.0), responses(np.array([4.0, 2.0, 2.2, 4.0]))
    alone = improvements(Surrogate(points, values, ONE, NOTHING))
    favourite = LINE[alone.argmax()]
    together = improvements(Surrogate(points, values, ONE, favourite[None, :]))
    assert together[alone.argmax()] < 0.3 * alone.max()
    assert abs(float(LINE[together.argmax(), 0] - favourite[0])) > 0.05


def test_pending_configurations_leave_means_as_they_are_and_take_uncertainty_as_trials_would() -> None:
    rng = np.random.default_rng(1)
    points, pending, places = rng.random((6, 1)), rng.random((3, 1)), rng.random((20, 1))
    values = responses(rng.random(6))
    alone, believing = (Surrogate(points, values, ONE, flying) for flying in (NOTHING, pending))
    assert believing.predict(places)[0] == pytest.approx(alone.predict(places)[0])
    scaled = [2.0 * rows for rows in (np.concatenate([points, pending]), places)]
    known = covariances(scaled[0], ONE.noise)
    shared = matern(squared_distances(*scaled))
    left = 1 - np.einsum("ij,ik,kj->j", shared, np.linalg.inv(known), shared)
    assert believing.predict(places)[1] == pytest.approx(np.sqrt(left * believing.variance))


def test_the_likelihood_is_that_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(2)
    points, values = rng.random((7, 2)), rng.standard_normal(7)
    matrices = covariances(np.stack([points, 3 * points]), np.array([[0.01], [0.1]]))
    found = log_likelihoods(matrices, values)
    for covariance, likelihood in zip(matrices, found, strict=True):
        variance = min(3.0, max(0.3, values @ np.linalg.solve(covariance, values) / 7))
        whole = variance * covariance
        exponent = -0.5 * values @ np.linalg.solve(whole, values)
        assert likelihood == pytest.approx(exponent - 0.5 * np.linalg.slogdet(whole)[1])


def test_the_parameter_that_matters_gets_the_shorter_scale() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((40, 2))
    scales = likely_scales(points, np.sin(6 * points[:, 0]), np.array([0, 1]), rng)
    assert scales.weights[0] > 2 * scales.weights[1]


def test_responses_rise_with_the_losses_and_a_trial_without_one_is_as_bad_as_the_worst() -> None:
    losses = np.array([2.0, math.nan, -1.0, 5.0, math.inf])
    found = responses(losses)
    assert found[2] < found[0] < found[3] == found[1] == found[4]
    assert responses(np.array([math.nan, math.nan])).tolist() == [0.0, 0.0]
    assert responses(np.array([7.0, 7.0, 7.0])) == pytest.approx(np.zeros(3))


def of_asks(*losses: float, free: int, context: Any = None) -> Evidence:
    """Trials on a line that get better towards 1, of which the last `free` are of free asks, with this `context`."""
    evidence = Evidence(Axes(make_space(UNIT)), StudyDirection.MINIMIZE)
    trials = [create_trial(value=loss, params={"x": 1 - loss}, distributions=UNIT) for loss in losses]
    for trial in trials[len(trials) - free :]:
        trial.user_attrs = {"llm": {"calls": 1, "form": "plain", "context": context}}
    evidence.update(trials)
    return evidence


def falls_short(*losses: float, free: int = JUDGED, context: Any = None) -> float:
    evidence = of_asks(*losses, free=free, context=context)
    return shortfall(evidence, evidence.newest)


BEFORE = (0.9, 0.7, 0.5, 0.4, 0.3, 0.2)


def test_a_model_falls_short_whose_last_proposals_are_worse_than_what_the_surrogate_would_take() -> None:
    assert falls_short(*BEFORE, 0.81, 0.92, 0.73, 0.94, 0.85) > 1.0


def test_a_model_does_not_fall_short_that_still_makes_progress() -> None:
    assert falls_short(*BEFORE, 0.15, 0.1, 0.05, 0.04, 0.03) <= 0.0
    assert falls_short(*BEFORE, 0.41, 0.42, 0.1, 0.43, 0.44) <= 0.0


def test_of_too_few_proposals_or_too_few_trials_before_them_nothing_is_said() -> None:
    bad = (0.81, 0.92, 0.73, 0.94, 0.85)
    assert falls_short(*BEFORE, *bad[1:], free=JUDGED - 1) == 0.0
    assert falls_short(*BEFORE[: JUDGED - 1], *bad) == 0.0
    assert falls_short(*bad) == falls_short() == 0.0


def test_a_model_is_not_blamed_for_what_trials_show_that_it_had_not_seen() -> None:
    bad = (0.81, 0.92, 0.73, 0.94, 0.85)
    for seen, blamed in [(len(BEFORE), True), (JUDGED, True), (JUDGED - 1, False), (0, False)]:
        context = {"complete": seen, "pruned": 0, "failed": 0}
        assert (falls_short(*BEFORE, *bad, context=context) > 0) == blamed


def test_how_bad_the_worst_is_does_not_matter() -> None:
    losses = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    worse = np.where(losses == 10.0, 1e12, losses)
    assert responses(worse) == pytest.approx(responses(losses))


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats()), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), max_size=5),
)
def test_improvements_are_numbers_that_are_not_negative(trials: list[tuple[float, float]], flying: list[float]) -> None:
    points, losses = column(*(place for place, _ in trials)), np.array([loss for _, loss in trials])
    scales = likely_scales(points, losses, np.array([0]), np.random.default_rng(0))
    found = improvements(Surrogate(points, responses(losses), scales, column(*flying)))
    assert np.isfinite(found).all()
    assert (found >= -1e-12).all()
