"""From a role to candidates: new ones, promising ones first, within what is fixed and what a branch has."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm.engine.records import Share
from optuna_llm.samplers.guidance.acquisition import MAX_LEARNED, learnable, outlook_of
from optuna_llm.samplers.guidance.menu import menu_for
from optuna_llm.samplers.guidance.offer import MAX_OFFERED, Offer, is_new, offer_for
from optuna_llm.samplers.guidance.strategy import OpenAsk, Situation
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space, narrow
from optuna_llm.samplers.view.duplicates import Point, point
from optuna_llm.samplers.view.evidence import WINDOW, Evidence, step_of

Space = Mapping[str, BaseDistribution]
LINE: Space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
BRANCHES: Space = {
    "model": CategoricalDistribution(("forest", "svm")),
    "trees": IntDistribution(1, 100),
    "C": FloatDistribution(0, 1),
}
ROLES = ("explore", "refine", "combine")


def trial(params: Mapping[str, Any], space: Space, value: float | None) -> FrozenTrial:
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    kinds = {name: space[name] for name in params}
    return create_trial(state=state, value=value, params=dict(params), distributions=kinds)


def at(columns: Space, trials: list[FrozenTrial], **more: Any) -> Situation:
    space = make_space(columns)
    evidence = Evidence(Axes(space), StudyDirection.MINIMIZE)
    evidence.update(trials)
    known = {"ordinal": len(trials), "proposed": len(trials), "space": space, **more}
    return Situation(direction=StudyDirection.MINIMIZE, evidence=evidence, **known)


def valley(count: int, seed: int = 0) -> list[FrozenTrial]:
    """Trials on the plane whose value is best at (0.3, 0.6)."""
    rng = random.Random(seed)
    places = [(rng.random(), rng.random()) for _ in range(count)]
    return [trial({"x": x, "y": y}, LINE, (x - 0.3) ** 2 + (y - 0.6) ** 2) for x, y in places]


class Flying:
    """A configuration in flight."""

    def __init__(self, axes: Axes, params: Mapping[str, Any]) -> None:
        self.params = dict(params)
        self.places = axes.places(params)


def offer(role: str, situation: Situation) -> Offer:
    found = offer_for(role, situation)
    assert found.candidates
    return found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("count", [2, 5, 20, 60])
def test_candidates_are_new_different_and_complete(role: str, count: int) -> None:
    situation = at(LINE, valley(count))
    found = offer(role, situation)
    axes = situation.evidence.axes
    places = np.array([axes.places(candidate) for candidate in found.candidates])
    assert 1 <= len(places) <= MAX_OFFERED
    assert all(candidate.keys() == LINE.keys() for candidate in found.candidates)
    assert all(is_new(place, situation.evidence.newest.places) for place in places)
    assert all(is_new(place, np.delete(places, index, axis=0)) for index, place in enumerate(places))


def test_the_first_candidate_is_near_what_is_best_and_not_where_it_is_known_to_be_bad() -> None:
    first = offer("explore", at(LINE, valley(30))).candidates[0]
    assert (first["x"] - 0.3) ** 2 + (first["y"] - 0.6) ** 2 < 0.15**2


def test_a_refining_ask_changes_some_parameters_of_a_good_trial() -> None:
    space = {f"x{n}": FloatDistribution(0, 1) for n in range(12)}
    rng = random.Random(1)
    trials = [trial({name: rng.random() for name in space}, space, float(n)) for n in range(20)]
    found = offer("refine", at(space, trials))
    for candidate in found.candidates:
        same = [name for name in space if candidate[name] == pytest.approx(trials[0].params[name], rel=1e-3)]
        assert len(same) >= 8


def test_a_combining_ask_takes_each_value_from_a_good_trial() -> None:
    trials = valley(30)
    best = sorted(trials, key=lambda one: one.value or 0)[:4]
    for candidate in offer("combine", at(LINE, trials)).candidates:
        for name, value in candidate.items():
            assert any(value == pytest.approx(parent.params[name], rel=1e-3) for parent in best)


@pytest.mark.parametrize("role", ROLES)
def test_what_is_fixed_is_heeded_and_not_asked_for(role: str) -> None:
    situation = at(LINE, valley(20), fixed={"x": 0.9}, space=narrow(make_space(LINE), ["y"]))
    found = offer(role, situation)
    assert {name for candidate in found.candidates for name in candidate} == {"y"}
    if role != "combine":  # there are only four values to combine
        free = offer(role, at(LINE, valley(20)))
        assert found.candidates != tuple({"y": candidate["y"]} for candidate in free.candidates)


def test_asks_in_flight_and_open_asks_move_the_candidates_away() -> None:
    trials = valley(12)
    alone = offer("explore", at(LINE, trials)).candidates[0]
    axes = Axes(make_space(LINE))
    for more in (
        {"in_flight": [Flying(axes, alone)]},
        {"open": [OpenAsk(offered=[axes.places(alone)])]},
    ):
        together = offer("explore", at(LINE, trials, **more)).candidates
        assert all(is_new(np.array(axes.places(other)), np.array([axes.places(alone)]), 0.01) for other in together)


@pytest.mark.parametrize("seed", range(4))
def test_open_asks_offer_nothing_that_the_study_would_take_for_the_same(seed: int) -> None:
    """Of two candidates that are just far enough apart, the values, which have few digits, may be nearer."""
    space: Space = {"x": FloatDistribution(0, 1)}
    crowd = [trial({"x": n / 400}, space, n / 400) for n in range(20)]
    asks: list[OpenAsk] = []
    offered: list[Point] = []
    for ordinal in range(20, 70):
        situation = at(space, crowd, open=tuple(asks), ordinal=ordinal, seed=seed)
        found = offer_for("refine", situation).candidates
        points = [point(candidate, space) for candidate in found]
        assert not [other for one in points for other in offered if one.near(other)]
        offered += points
        asks.append(OpenAsk(offered=[situation.evidence.axes.places(candidate) for candidate in found]))
    assert len(offered) > 50


@pytest.mark.parametrize(("role", "count"), [("explore", 0), ("explore", 12), ("refine", 12)])
def test_processes_in_the_same_situation_offer_different_candidates(role: str, count: int) -> None:
    shares = [Share(place=place, processes=3) for place in range(3)]
    offered = [offer(role, at(LINE, valley(count), share=share)).candidates for share in shares]
    texts = [str(candidate) for candidates in offered for candidate in candidates]
    assert len(texts) == len(set(texts))


def test_a_process_that_would_get_none_of_the_last_candidates_offers_them_all_the_same() -> None:
    space = {"kind": CategoricalDistribution(("a", "b"))}
    trials = [trial({"kind": "a"}, space, 0.0)] * 4
    for place in range(3):
        last = at(space, trials, share=Share(place=place, processes=3))
        assert offer("explore", last).candidates == ({"kind": "b"},)


def branching(count: int) -> list[FrozenTrial]:
    rng = random.Random(2)
    trials = []
    for number in range(count):
        params = (
            {"model": "forest", "trees": rng.randint(1, 100)} if number % 2 else {"model": "svm", "C": rng.random()}
        )
        trials.append(trial(params, BRANCHES, rng.random()))
    return trials


@pytest.mark.parametrize("role", ["explore", "refine"])
@pytest.mark.parametrize("count", [6, 7, 20])
def test_candidates_of_a_branch_have_the_parameters_of_that_branch(role: str, count: int) -> None:
    for candidate in offer(role, at(BRANCHES, branching(count))).candidates:
        assert "trees" not in candidate or candidate["model"] == "forest"
        assert "C" not in candidate or candidate["model"] == "svm"


def test_nothing_is_offered_where_nothing_new_is_left() -> None:
    space = {"kind": CategoricalDistribution(("a", "b", "c"))}
    trials = [trial({"kind": kind}, space, 0.0) for kind in "abc"]
    assert all(offer_for(role, at(space, trials)) == Offer() for role in ROLES)
    last = at(space, trials[:2])
    assert offer("explore", last).candidates == ({"kind": "c"},)


def test_where_the_best_trials_cannot_be_combined_anew_the_ask_explores() -> None:
    situation = at(BRANCHES, branching(20))
    assert offer_for("combine", situation) == Offer()
    guidance = menu_for(situation, "combine", "menu")
    assert guidance.role == "explore"
    assert guidance.candidates


def test_a_trial_without_parameters_does_not_make_all_others_old() -> None:
    assert offer_for("explore", at(LINE, [trial({}, LINE, None), *valley(3)])).candidates


@pytest.mark.parametrize("kind", ["Interrupted", "RunDied"])
def test_a_trial_that_was_cut_short_says_nothing_about_its_configuration(kind: str) -> None:
    cut, failed = (trial({"x": 0.3, "y": 0.6}, LINE, None) for _ in range(2))
    cut.user_attrs = {"failure": {"type": kind, "message": ""}}
    trials = valley(12)
    same, other = (offer("explore", at(LINE, [*trials, last])).candidates for last in (cut, failed))
    assert same == offer("explore", at(LINE, trials, ordinal=13, proposed=13)).candidates
    assert other != same
    assert not at(LINE, [*trials, cut]).evidence.newest.failed.any()


def test_before_there_are_values_candidates_far_from_all_others_come_first() -> None:
    situation = at(LINE, [trial({"x": 0.0, "y": 0.0}, LINE, None)])
    found = outlook_of(situation, np.array([[0.1, 0.1], [1.0, 1.0], [0.5, 0.5]]))
    assert found.values is None
    assert found.worth.argsort().tolist() == [0, 2, 1]
    assert outlook_of(at(LINE, []), np.array([[0.1, 0.1], [1.0, 1.0]])).worth.tolist() == [0.0, 0.0]


def test_the_newest_trials_and_the_best_of_the_others_are_learned_from() -> None:
    trials = [trial({"x": n / 200, "y": 0.5}, LINE, float(abs(n - 40))) for n in range(200)]
    kept = learnable(at(LINE, trials).evidence.newest).places[:, 0] * 200
    assert [round(place) for place in kept[MAX_LEARNED:]] == list(range(200 - MAX_LEARNED, 200))
    assert [round(place) for place in kept[:MAX_LEARNED]] == list(range(40 - MAX_LEARNED // 2, 40 + MAX_LEARNED // 2))


@pytest.mark.parametrize(("count", "step"), [(0, 0), (15, 15), (16, 16), (19, 16), (63, 60), (64, 64), (1000, 992)])
def test_what_takes_time_is_computed_in_steps_of_the_study(count: int, step: int) -> None:
    assert step_of(count) == step


def test_what_is_computed_once_is_of_the_trials_of_its_step_and_kept_until_the_next() -> None:
    trials = valley(90)
    evidence = Evidence(Axes(make_space(LINE)), StudyDirection.MINIMIZE)
    calls: list[int] = []

    def compute(_: Evidence, newest: Any) -> list[float]:
        calls.append(len(newest.losses))
        return [float(loss) for loss in newest.losses]

    for count in range(60, 91):
        evidence.update(trials[:count])
        assert evidence.cached_per_step(compute) == [trial.value for trial in trials[: step_of(count)]]
    assert calls == [60, 64, 80]


def test_evidence_keeps_the_newest_trials_however_many_there_were() -> None:
    trials = valley(5 * WINDOW)
    evidence = Evidence(Axes(make_space(LINE)), StudyDirection.MINIMIZE)
    for count in range(0, len(trials) + 1, 97):
        evidence.update(trials[:count])
        assert evidence.newest.losses.tolist() == [one.value for one in trials[max(0, count - WINDOW) : count]]


LOG: Space = {"n": IntDistribution(1, 16, log=True), "c": CategoricalDistribution(("a", "b"))}


@pytest.mark.parametrize("role", ["explore", "refine"])
@pytest.mark.parametrize("seed", range(10))
def test_whole_numbers_on_a_log_scale_are_offered_once_and_only_new_ones(role: str, seed: int) -> None:
    rng = random.Random(seed)
    every: list[dict[str, Any]] = [{"n": n, "c": c} for n in range(1, 17) for c in "ab"]
    rng.shuffle(every)
    done, left = every[:16], every[16:]
    found = offer_for(role, at(LOG, [trial(params, LOG, float(params["n"])) for params in done], seed=seed))
    assert found.candidates
    assert all(candidate in left for candidate in found.candidates)
    assert len({str(candidate) for candidate in found.candidates}) == len(found.candidates)


@pytest.mark.parametrize("role", ROLES)
def test_candidates_of_different_branches_are_whole_answers(role: str) -> None:
    forests = [trial({"model": "forest", "trees": n * 9}, BRANCHES, 1.0 - n / 20) for n in range(1, 9)]
    machines = [trial({"model": "svm", "C": n / 10}, BRANCHES, 0.9 - n / 20) for n in range(1, 9)]
    for seed in range(8):
        found = offer_for(role, at(BRANCHES, [*forests, *machines], seed=seed))
        assert found.candidates or role == "combine"
        for candidate in found.candidates:
            assert candidate.keys() == {"model", "trees" if candidate["model"] == "forest" else "C"}


@pytest.mark.parametrize("renamed", [{"z": 0.5}, {}])
def test_trials_without_any_parameter_of_the_space_are_no_ground_for_expectations(renamed: Mapping[str, Any]) -> None:
    space = {"z": FloatDistribution(0, 1)}
    trials = [trial(renamed, space, float(value)) for value in range(6)]
    assert offer_for("explore", at(LINE, trials)).candidates
    assert offer_for("explore", at(LINE, [*trials, *valley(1)])).candidates
    assert offer_for("refine", at(LINE, [*trials, *valley(3)])).candidates


@pytest.mark.parametrize("direction", [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
def test_what_is_expected_is_a_value_between_those_that_were_seen(direction: StudyDirection) -> None:
    trials = valley(20)
    evidence = Evidence(Axes(make_space(LINE)), direction)
    evidence.update(trials)
    found = offer_for("explore", Situation(space=make_space(LINE), direction=direction, evidence=evidence, ordinal=21))
    values = [one.value or 0.0 for one in trials]
    assert len(found.expected) == len(found.candidates)
    assert all(min(values) <= value <= max(values) for value in found.expected)
    good = min if direction is StudyDirection.MINIMIZE else max
    assert abs(found.expected[0] - good(values)) < abs(found.expected[0] - sum(values) / len(values))


def test_nothing_is_expected_before_there_are_values() -> None:
    assert offer("explore", at(LINE, [])).expected == ()


@pytest.mark.parametrize("role", ROLES)
def test_what_the_study_would_refuse_is_not_offered(role: str) -> None:
    trials = valley(20)
    favourites = offer(role, at(LINE, trials)).candidates
    left = offer_for(role, at(LINE, trials, is_known=lambda params: params in favourites)).candidates
    assert not [candidate for candidate in left if candidate in favourites]
    assert offer_for(role, at(LINE, trials, is_known=lambda params: True)) == Offer()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("count", [3, 12, 40])
def test_candidates_stand_best_first(role: str, count: int) -> None:
    situation = at(LINE, valley(count))
    axes = situation.evidence.axes
    places = np.array([axes.places(candidate) for candidate in offer(role, situation).candidates])
    worth = outlook_of(situation, places).worth
    assert worth.tolist() == pytest.approx(sorted(worth, reverse=True))
