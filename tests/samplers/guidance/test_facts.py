"""Facts about the finished trials, each a line that a table does not say by itself."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm.samplers.guidance.facts import MAX_LISTED, facts, smallest_step
from optuna_llm.samplers.guidance.strategy import Situation
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space, narrow
from optuna_llm.samplers.view.evidence import Evidence

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "kind": CategoricalDistribution(("a", "b", "c")),
}
BRANCHES: dict[str, BaseDistribution] = {
    "model": CategoricalDistribution(("forest", "svm")),
    "trees": FloatDistribution(1, 100),
    "C": FloatDistribution(0, 1),
}


def trial(number: int, value: float | None, params: Mapping[str, Any], space: Mapping[str, Any]) -> FrozenTrial:
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    kinds = {name: space[name] for name in params}
    made = create_trial(state=state, value=value, params=dict(params), distributions=kinds)
    made.number = number
    return made


class Running(NamedTuple):
    params: Mapping[str, Any]
    places: Sequence[float]


def said(
    values: list[float | None],
    kinds: str = "a",
    *,
    direction: StudyDirection = StudyDirection.MINIMIZE,
    space: Mapping[str, Any] = SPACE,
    params: list[dict[str, Any]] | None = None,
) -> tuple[str, ...]:
    """The facts of trials with these values, whose kinds are taken in turn."""
    made = params or [{"x": n / 100, "kind": kinds[n % len(kinds)]} for n in range(len(values))]
    trials = [trial(n, value, p, space) for n, (value, p) in enumerate(zip(values, made, strict=True))]
    columns = make_space(space)
    evidence = Evidence(Axes(columns), direction)
    evidence.update(trials)
    return facts(Situation(space=columns, direction=direction, evidence=evidence, ordinal=len(trials)))


def test_of_no_trials_nothing_is_said() -> None:
    assert said([]) == ()
    assert said([None, None]) == ()


def test_a_choice_that_is_only_in_flight_is_not_said_to_be_untried() -> None:
    space = {"kind": CategoricalDistribution(["a", "b", "c"])}
    columns = make_space(space)
    evidence = Evidence(Axes(columns), StudyDirection.MINIMIZE)
    evidence.update([trial(0, 1.0, {"kind": "a"}, space)])
    running = [Running({"kind": "b"}, [1.0]), Running({"kind": "b"}, [1.0]), Running({"kind": "a"}, [0.0])]
    situation = Situation(space=columns, direction=StudyDirection.MINIMIZE, evidence=evidence, in_flight=running)
    assert facts(situation) == ('kind: "a" 1 trial (best 1), "b" 2 in flight, "c" not tried.',)


def test_trials_that_share_the_best_value_are_named() -> None:
    assert said([3.0, 1.0, 1.0])[0] == "The best value, 1, is shared by trials 1, 2."
    assert said([1.0, 2.0, 1.0, 4.0])[0] == "The best value, 1, is shared by trials 0, 2."
    assert not [line for line in said([3.0, 1.0, 2.5]) if "best value" in line]


def test_of_many_trials_that_share_the_best_value_the_first_are_named() -> None:
    shared = said([1.0] * MAX_LISTED)[0]
    assert shared == "The best value, 1, is shared by trials 0, 1, 2, 3, 4, 5."
    shared = said([1.0] * (MAX_LISTED + 1))[0]
    assert shared == "The best value, 1, is shared by trials 0, 1, 2, 3, 4, 5 and more."


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.75, 0.80, 0.85, 0.85, 0.95], 0.05),
        ([k / 180 for k in (160, 163, 163, 170, 171)], 1 / 180),
        ([3.0, 1.0, 2.0, 7.0, 3.0], 1.0),
        ([0.1, 0.2371, 0.9, 0.55, 0.1], None),
        ([0.1, 0.2, 0.3, 0.4, 0.5], None),
        ([1.0, 1.0, 2.0], None),
        ([0.85, 0.85 + 2**-53, 0.9173, 0.9731, 0.9173], None),
        ([0.75, 0.80, 0.85, 0.85 + 2**-53, 0.95], 0.05),
        ([0.0, 1e-20, 1.0, 2.5, 2.5], None),
        ([-1e308, 1e308, 0.0, 5.0, 5.0], None),
        ([], None),
    ],
)
def test_the_step_of_values_is_known_where_all_are_multiples_and_some_are_equal(
    values: list[float], step: float | None
) -> None:
    assert smallest_step(np.array(values)) == (None if step is None else pytest.approx(step))


def test_of_what_is_maximized_the_highest_values_are_shared() -> None:
    line = said([2.0, 5.0, 1.0, 5.0, 5.0], direction=StudyDirection.MAXIMIZE)[0]
    assert line == "The best value, 5, is shared by trials 1, 3, 4."


def test_trials_that_gave_no_value_do_not_share_the_best() -> None:
    assert said([3.0, 1.0, None, None, None])[0].startswith("kind:")
    assert said([3.0, 1.0, None, 1.0, None])[0] == "The best value, 1, is shared by trials 1, 3."


def test_the_step_is_that_of_the_values_that_were_given_in_either_direction() -> None:
    values = [0.75, None, 0.80, 0.85, None, 0.85, 0.95]
    for direction in (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE):
        assert [line for line in said(values, direction=direction) if "multiples" in line] == [
            "Values differ by multiples of 0.05, so they are probably measured no finer."
        ]


@pytest.mark.parametrize("seed", range(20))
def test_continuous_values_have_no_step_although_some_are_equal(seed: int) -> None:
    drawn = np.random.default_rng(seed).normal(size=10)
    assert smallest_step(np.concatenate([drawn, drawn[:3]])) is None


@given(st.integers(5, 1000), st.lists(st.integers(0, 5), min_size=8, max_size=40))
def test_shares_of_samples_have_a_step_where_the_smallest_gap_divides_all(samples: int, hits: list[int]) -> None:
    gaps = np.diff(np.unique(hits))
    even = len(gaps) >= 3 and not (gaps % gaps.min()).any()
    found = smallest_step(np.array(hits) / samples)
    assert found == (pytest.approx(gaps.min() / samples) if even else None)


def test_the_step_of_values_is_said() -> None:
    lines = said([0.75, 0.80, 0.85, 0.85, 0.95])
    assert "Values differ by multiples of 0.05, so they are probably measured no finer." in lines


@pytest.mark.parametrize(("direction", "best"), [(StudyDirection.MINIMIZE, 1), (StudyDirection.MAXIMIZE, 7)])
def test_each_choice_has_its_trials_failures_and_best_value(direction: StudyDirection, best: int) -> None:
    line = said([1.0, 2.0, 7.0, None, None, None], "ab", direction=direction)[-1]
    assert line == f'kind: "a" 3 trials (1 failed, best {best}), "b" 3 trials (2 failed, best 2), "c" not tried.'


def test_of_many_choices_the_most_tried_are_listed() -> None:
    space = {"kind": CategoricalDistribution(tuple(f"k{n}" for n in range(20)))}
    params = [{"kind": "k19"}, {"kind": "k19"}, {"kind": "k3"}]
    line = said([1.0, 2.0, 3.0], space=space, params=params)[-1]
    assert line.startswith('kind: "k19" 2 trials (best 1), "k3" 1 trial (best 3), "k0" not tried')
    assert line.endswith(f"and {20 - MAX_LISTED} more.")


def test_of_many_parameters_with_choices_the_first_are_listed() -> None:
    space = {f"kind{n}": CategoricalDistribution(("a", "b")) for n in range(10)}
    lines = said([1.0], space=space, params=[dict.fromkeys(space, "a")])
    assert [line.partition(":")[0] for line in lines] == [f"kind{n}" for n in range(MAX_LISTED)]


def test_a_choice_without_a_value_has_its_trials_alone() -> None:
    line = said([1.0, None], "ab")[-1]
    assert line == 'kind: "a" 1 trial (best 1), "b" 1 trial (1 failed), "c" not tried.'


def test_a_long_choice_is_cut() -> None:
    space = {"prompt": CategoricalDistribution(("Think step by step. " * 30, "b"))}
    line = said([1.0], space=space, params=[{"prompt": "b"}])[-1]
    assert len(line) < 120
    assert '"Think step by step.' in line


def test_of_parameters_that_are_not_asked_for_nothing_is_said() -> None:
    trials = [trial(n, float(n), {"x": n / 10, "kind": "ab"[n % 2]}, SPACE) for n in range(3)]
    columns = make_space(SPACE)
    evidence = Evidence(Axes(columns), StudyDirection.MINIMIZE)
    evidence.update(trials)
    situation = Situation(
        space=narrow(columns, ["x"]), direction=StudyDirection.MINIMIZE, evidence=evidence, fixed={"kind": "a"}
    )
    assert facts(situation) == ()


def absences(params: list[dict[str, Any]], space: Mapping[str, Any] = BRANCHES) -> list[str]:
    """What is said of parameters that trials with these parameters lack."""
    lines = said([float(n) for n in range(len(params))], space=space, params=params)
    return [line for line in lines if " had " in line]


def test_parameters_that_count_under_every_choice_are_not_named() -> None:
    params: list[dict[str, Any]] = [{"model": "forest", "trees": 5.0, "C": 0.1}, {"model": "svm", "trees": 7.0}]
    assert absences(params) == ['The one trial with model "svm" had no C.']


def test_names_of_parameters_that_trials_lack_are_their_keys() -> None:
    space = {"my kind": CategoricalDistribution(("a", "b")), "my size": FloatDistribution(0, 1)}
    params: list[dict[str, Any]] = [{"my kind": "a", "my size": 0.5}, {"my kind": "b"}]
    assert absences(params, space) == ['The one trial with my_kind "b" had no my_size.']


def test_parameters_that_trials_of_a_choice_lack_are_named() -> None:
    params: list[dict[str, Any]] = [{"model": "forest", "trees": 5.0}, {"model": "svm", "C": 0.5}] * 2
    assert absences(params) == [
        'None of the 2 trials with model "forest" had C.',
        'None of the 2 trials with model "svm" had trees.',
    ]


SCALED: dict[str, BaseDistribution] = {**BRANCHES, "scaler": CategoricalDistribution(("none", "std", "max", "rank"))}


@pytest.mark.parametrize("seed", range(20))
def test_what_one_parameter_decides_is_not_said_of_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params: list[dict[str, Any]] = []
    for _ in range(20):
        own = {"trees": 5.0} if rng.random() < 0.5 else {"C": 0.5}
        kind = "forest" if "trees" in own else "svm"
        params.append({"model": kind, "scaler": str(rng.choice(["none", "std", "max", "rank"])), **own})
        assert not [line for line in absences(params, SCALED) if "scaler" in line]
    assert len(absences(params, SCALED)) == 2


def test_of_two_choices_that_always_came_together_nothing_is_said() -> None:
    params: list[dict[str, Any]] = [
        {"model": "forest", "scaler": "none", "trees": 5.0},
        {"model": "forest", "scaler": "std", "trees": 6.0},
        {"model": "svm", "scaler": "max"},
    ]
    assert not absences(params, SCALED)


def test_what_some_trials_of_the_other_choices_lack_too_takes_several_trials() -> None:
    half: list[dict[str, Any]] = [{"model": "forest", "trees": 5.0}, {"model": "forest"}] * 4
    assert not absences([*half, *([{"model": "svm"}] * 6)])
    assert absences([*half, *([{"model": "svm"}] * 7)]) == ['None of the 7 trials with model "svm" had trees.']


def test_choices_of_trials_long_ago_count() -> None:
    values: list[float | None] = [float(n) for n in range(400)]
    params = [{"x": n / 400, "kind": "a" if n < 10 else "b"} for n in range(400)]
    line = said(values, params=params)[-1]
    assert line == 'kind: "b" 390 trials (best 10), "a" 10 trials (best 0), "c" not tried.'


def test_a_name_that_is_no_key_is_said_by_its_key_and_a_choice_is_quoted() -> None:
    space = {"my kind": CategoricalDistribution(('say "hi"', "b"))}
    line = said([1.0], space=space, params=[{"my kind": 'say "hi"'}])[-1]
    assert line == f'{make_space(space).keys["my kind"]}: "say \\"hi\\"" 1 trial (best 1), "b" not tried.'
