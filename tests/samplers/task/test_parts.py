"""The parts of a task share the room of a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_llm.samplers.task import task_text
from optuna_llm.samplers.task.parts import CUT, LEFT_OUT, shorten

LINES = "\n".join(f"line {number}" for number in range(100))


def test_parts_are_joined_by_blank_lines_and_empty_ones_dropped() -> None:
    assert (
        task_text(["Tune a net.", " ", "\nIts metric is the loss.\n"], 100) == "Tune a net.\n\nIts metric is the loss."
    )


def test_a_string_is_one_part() -> None:
    assert task_text("  Tune a net.\n", 100) == "Tune a net."


@pytest.mark.parametrize("order", [1, -1])
def test_a_short_part_is_whole_beside_a_long_one(order: int) -> None:
    text = task_text(["Tune a net.", LINES][::order], 500)
    assert "Tune a net." in text
    assert 400 < len(text) <= 500


def test_long_parts_are_cut_to_one_length() -> None:
    first, second = task_text(["a " * 1000, "b " * 3000], 1000).split("\n\n")
    assert len(first) == len(second)


def test_of_too_many_parts_the_first_ones_stay_and_it_says_so() -> None:
    text = task_text([f"{number} " + "x" * 300 for number in range(100)], 2000)
    assert text.startswith("0 x")
    assert text.endswith(LEFT_OUT)
    assert len(text) <= 2000


def test_a_text_is_cut_at_the_end_of_a_line_and_says_so() -> None:
    cut = shorten(LINES, 100)
    assert cut.splitlines()[-1] == CUT
    assert set(cut.splitlines()[:-1]) <= set(LINES.splitlines())


@given(st.lists(st.text(max_size=400), max_size=30), st.integers(1, 2000))
def test_no_task_is_longer_than_its_room(parts: list[str], limit: int) -> None:
    assert len(task_text(parts, limit)) <= limit


@given(st.lists(st.text(max_size=400), max_size=8), st.integers(2000, 4000))
def test_what_was_cut_once_is_not_cut_again(parts: list[str], limit: int) -> None:
    text = task_text(parts, limit)
    assert task_text(text, limit) == text
