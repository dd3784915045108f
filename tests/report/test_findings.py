"""What a report says, before it is drawn."""

import pytest
from optuna import create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import create_trial
from report_support import finished, llm_record, study_of

from optuna_llm import UsageError
from optuna_llm.report.baseline import baseline_of, best_of_draws
from optuna_llm.report.findings import findings_of
from optuna_llm.report.tallies import OTHERS, UNNAMED


def test_an_improvement_carries_what_was_spent_since_the_one_before() -> None:
    record = llm_record()
    trials = [finished(0, 1, 3.0, llm=record), finished(1, 2, 4.0, llm=record), finished(2, 3, 1.0, llm=record)]
    first, second = findings_of(study_of(*trials)).improvements
    assert (first.number, first.gain, first.cost) == (0, None, 0.5)
    assert (second.number, second.gain, second.cost, second.tokens, second.trials) == (2, 2.0, 1.0, 200, 2)


def test_an_improvement_counts_in_order_of_ends_and_not_of_numbers() -> None:
    improvements = findings_of(study_of(finished(0, 9, 1.0), finished(0, 2, 3.0))).improvements
    assert [step.number for step in improvements] == [1, 0]


def test_more_is_better_where_a_study_maximizes() -> None:
    best = findings_of(study_of(finished(0, 1, 1.0), finished(1, 2, 5.0), direction="maximize")).best
    assert best is not None
    assert best.value == 5.0


def test_an_unknown_cost_makes_that_of_its_improvement_unknown() -> None:
    (step,) = findings_of(study_of(finished(0, 1, 1.0, llm=llm_record(usage=None)))).improvements
    assert step.cost is None


def test_proposals_are_counted() -> None:
    records = [llm_record(reasks=1, calls=2, form="menu"), llm_record(duplicate_of=0, staleness=4)]
    proposing = findings_of(study_of(*(finished(i, i + 1, 1.0, llm=one) for i, one in enumerate(records)))).proposing
    assert (proposing.calls, proposing.reasks, proposing.menus, proposing.duplicates) == (3, 1, 1, 1)
    assert (proposing.staleness, proposing.stalest) == (3.0, 4)


def test_roles_are_counted_with_what_came_of_them() -> None:
    roles = ["first guess", "refine", "refine"]
    trials = [finished(i, i + 1, 3.0 - i, llm=llm_record(role=role, reasks=i)) for i, role in enumerate(roles)]
    first, second, others = findings_of(study_of(*trials, finished(9, 10, 5.0))).roles
    assert (first.role, first.trials, first.improvements) == ("first guess", 1, 1)
    assert (second.role, second.trials, second.improvements, second.proposing.reasks) == ("refine", 2, 2, 3)
    assert (others.role, others.trials, others.improvements) == (OTHERS, 1, 0)


def test_failures_are_counted_by_type_with_the_last_message() -> None:
    kinds = ["ValueError", "KeyError", "ValueError", None]
    failures = [
        {"failure": {"type": kind, "message": f"number {i}: no"}} if kind else {} for i, kind in enumerate(kinds)
    ]
    tallies = findings_of(study_of(*(finished(i, i + 1, None, **one) for i, one in enumerate(failures)))).failures
    assert [(tally.kind, tally.count) for tally in tallies] == [("ValueError", 2), ("KeyError", 1), (UNNAMED, 1)]
    assert (tallies[0].number, tallies[0].message) == (2, "number 2: no")


def test_a_choice_of_none_differs_from_a_parameter_that_a_trial_does_not_have() -> None:
    space: dict[str, BaseDistribution] = {"size": CategoricalDistribution((None, 1))}
    study = study_of(create_trial(value=1.0, params={"size": None}, distributions=space), create_trial(value=2.0))
    assert [row["params_size"] for row in findings_of(study).rows] == ["None", None]


def test_importances_of_few_trials_are_left_out() -> None:
    assert findings_of(study_of(*(finished(i, i + 1, float(i)) for i in range(5)))).importances is None


def test_importances_of_equal_values_are_left_out() -> None:
    assert findings_of(study_of(*(finished(i, i + 1, 1.0) for i in range(30)))).importances is None


def test_several_objectives_are_refused() -> None:
    with pytest.raises(UsageError, match="one objective"):
        findings_of(create_study(directions=["minimize", "maximize"]))


def test_the_best_of_all_draws_is_the_best() -> None:
    *_, last = best_of_draws([1.0, 2.0, 3.0], 3)
    assert (last.low, last.median, last.high) == (1.0, 1.0, 1.0)


def test_the_best_of_one_draw_is_any_of_them() -> None:
    first = next(best_of_draws([float(i) for i in range(1, 11)], 10))
    assert (first.high, first.median, first.low) == (1.0, 5.0, 9.0)


def test_draws_of_failures_have_no_value() -> None:
    assert next(best_of_draws([1.0], 4)).median is None


def test_a_baseline_of_another_direction_is_refused() -> None:
    with pytest.raises(UsageError, match="direction"):
        baseline_of(study_of(), study_of(direction="maximize"))
