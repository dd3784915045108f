"""Facts about the finished trials, each a line that a table does not say by itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm.samplers.guidance.facts import MAX_LISTED, facts, smallest_step
from optuna_llm.samplers.guidance.strategy import Situation
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
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


def test_how_long_the_best_value_has_stood_is_said_from_the_third_trial_on() -> None:
    assert not [line for line in said([3.0, 1.0, 2.5, 2.2]) if "best value" in line]
    assert said([3.0, 1.0, 2.5, 2.2, 2.1])[0] == "The best value, 1 of trial 1, has stood for 3 trials."
    maximized = said([3.0, 1.0, 2.5, 2.2], direction=StudyDirection.MAXIMIZE)
    assert maximized[0] == "The best value, 3 of trial 0, has stood for 3 trials."


def test_trials_that_share_the_best_value_are_named() -> None:
    assert said([3.0, 1.0, 1.0])[0] == "The best value, 1, is shared by trials 1, 2."
    assert said([1.0, 2.0, 1.0, 4.0])[0] == "The best value, 1, is shared by trials 0, 2 and has stood for 3 trials."


def test_of_many_trials_that_share_the_best_value_the_first_are_named() -> None:
    shared = said([1.0] * MAX_LISTED)[0]
    assert shared == "The best value, 1, is shared by trials 0, 1, 2, 3, 4, 5 and has stood for 5 trials."
    shared = said([1.0] * (MAX_LISTED + 1))[0]
    assert shared == "The best value, 1, is shared by trials 0, 1, 2, 3, 4, 5 and more and has stood for 6 trials."


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


def test_the_step_of_values_is_said() -> None:
    lines = said([0.75, 0.80, 0.85, 0.85, 0.95])
    assert "Values differ by multiples of 0.05: less than that cannot be told apart." in lines


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


def test_parameters_that_did_not_count_under_a_choice_are_named() -> None:
    params: list[dict[str, Any]] = [{"model": "forest", "trees": 5.0}, {"model": "svm", "C": 0.5}]
    lines = said([1.0, 2.0], space=BRANCHES, params=params)
    assert lines[-2:] == ('With model "forest", C did not count.', 'With model "svm", trees did not count.')


def test_a_name_that_is_no_key_is_said_by_its_key_and_a_choice_is_quoted() -> None:
    space = {"my kind": CategoricalDistribution(('say "hi"', "b"))}
    line = said([1.0], space=space, params=[{"my kind": 'say "hi"'}])[-1]
    assert line == f'{make_space(space).keys["my kind"]}: "say \\"hi\\"" 1 trial (best 1), "b" not tried.'
