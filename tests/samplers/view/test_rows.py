"""The best rows of a table: values that differ read differently, and no row of the history ever changes."""

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from optuna_llm.samplers.view.rows import FinishedRows

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


def rows_of(*values: float, direction: StudyDirection = StudyDirection.MINIMIZE, curves: bool = False) -> FinishedRows:
    trials: list[FrozenTrial] = []
    for number, value in enumerate(values):
        curve = {1: 0.987654321} if curves else {}
        trials.append(create_trial(value=value, params={"x": 0.5}, distributions=SPACE, intermediate_values=curve))
        trials[-1].number = number
    rows = FinishedRows(tuple(SPACE), direction)
    rows.update(trials)
    return rows


def results(rows: FinishedRows, count: int) -> list[str]:
    return [row.result for row in rows.best(count)]


def test_the_best_values_have_as_many_digits_as_tell_them_apart_and_the_history_keeps_four() -> None:
    rows = rows_of(0.123456, 0.123457, 0.9)
    assert results(rows, 2) == ["0.123456", "0.123457"]
    assert [row.result for row in rows.rows(0)] == ["0.1235", "0.1235", "0.9"]


def test_the_last_of_the_best_is_told_apart_from_the_next_one_which_is_not_shown() -> None:
    rows = rows_of(0.5, 0.123456, 0.123457)
    assert results(rows, 1) == ["0.123456"]
    assert results(rows_of(0.5, 0.123456, 0.2), 1) == ["0.1235"]


def test_worse_values_that_are_alike_lengthen_no_best_one() -> None:
    assert results(rows_of(0.1, 0.2, 0.3, 0.765432, 0.765433), 2) == ["0.1", "0.2"]


def test_values_that_are_equal_need_no_more_digits() -> None:
    assert results(rows_of(0.123456, 0.123456, 0.5), 2) == ["0.1235", "0.1235"]


def test_of_what_is_maximized_the_highest_values_are_told_apart() -> None:
    rows = rows_of(0.1, 0.987654, 0.987653, direction=StudyDirection.MAXIMIZE)
    assert [(row.number, row.result) for row in rows.best(2)] == [(1, "0.987654"), (2, "0.987653")]


def test_a_learning_curve_stays_short_beside_a_value_with_many_digits() -> None:
    assert results(rows_of(0.123456, 0.123457, curves=True), 1) == ["0.123456[1:0.9877]"]


def test_of_no_trials_there_is_no_best() -> None:
    assert rows_of().best(3) == []
