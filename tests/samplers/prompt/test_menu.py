"""Candidates as a numbered table."""

from typing import Any

from support import SPACE

from optuna_llm.samplers.prompt.menu import DECLINE, TRUST, menu_text
from optuna_llm.samplers.space.space import make_space

COLUMNS = make_space(SPACE)
ONE: dict[str, Any] = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": None}


def test_a_table_has_the_parameters_that_differ_and_the_others_stand_below() -> None:
    assert menu_text([ONE, {**ONE, "lr": 0.02, "layers": 5}], [0.25, 0.123456], COLUMNS) == (
        "Take it from these candidates:\n"
        "candidate,estimated value,lr,layers\n"
        "1,0.25,0.01,3\n"
        "2,0.1235,0.02,5\n"
        "In all of them momentum = 0.5, optimizer = null.\n"
        f"{TRUST}\n"
        'Instead of values for the parameters give "candidate": the number of the one to try.'
    )


def test_without_expectations_there_is_no_column_of_them() -> None:
    assert "candidate,lr\n1,0.01\n2,0.02\n" in menu_text([ONE, {**ONE, "lr": 0.02}], (), COLUMNS)


def test_expectations_that_are_all_equal_tell_nothing() -> None:
    assert "candidate,lr\n1,0.01\n2,0.02\n" in menu_text([ONE, {**ONE, "lr": 0.02}], (0.5, 0.5), COLUMNS)


def test_expectations_that_read_alike_tell_nothing() -> None:
    assert "estimate" not in menu_text([ONE, {**ONE, "lr": 0.02}], (0.123412, 0.123413), COLUMNS)


def test_a_parameter_that_does_not_count_in_a_candidate_is_a_dash() -> None:
    idle = {name: value for name, value in ONE.items() if name != "momentum"}
    assert "candidate,momentum\n1,0.5\n2,-\n" in menu_text([ONE, idle], (), COLUMNS)


def test_a_single_candidate_is_said_in_full() -> None:
    text = menu_text([ONE], (), COLUMNS)
    assert "In all of them lr = 0.01, momentum = 0.5, layers = 3, optimizer = null." in text


def test_a_menu_that_may_be_declined_says_how_at_its_end() -> None:
    menu = [ONE, {**ONE, "lr": 0.02}]
    assert menu_text(menu, (), COLUMNS, optional=True) == f"{menu_text(menu, (), COLUMNS)} {DECLINE}"
    assert menu_text([], (), COLUMNS, optional=True) == ""


def test_without_candidates_nothing_is_said() -> None:
    assert menu_text([], (), COLUMNS) == ""
