"""The comparison in Markdown."""

import math

import pytest
from benchmark_support import cell

from benchmarks.quality.report import checkpoints_of, regrets_at, report


def test_the_report_holds_means_ranks_pairs_and_what_was_not_measured() -> None:
    measured = [cell("random", [1.0] * 4 + [0.5] * 4), cell("plain", [0.8] * 4 + [0.25] * 4)]
    text = report(measured, baseline="plain", heading="Heading", failures={"gp": "it needs torch"})
    assert checkpoints_of(measured) == [5, 8]
    assert text.startswith("# Heading\n")
    assert "| plain | 0.250 | 0.250 |" in text
    assert "| random | 2.00 | 2.00 |" in text
    assert "| random | 1 | 1 | 1 | 0 | -0.250 | -0.250 to -0.250 | 1 | 1 |" in text
    assert "- gp: it needs torch" in text


def test_a_report_compares_methods_on_the_seeds_that_all_have_too() -> None:
    measured = [cell("random", [0.8 - 0.2 * seed], seed=seed) for seed in range(4)] + [cell("plain", [0.6])]
    text = report(measured, baseline="plain", heading="Heading", failures={})
    assert "| over 1 task, 1 to 4 seeds of each, after trials | 1 |" in text
    assert "| random | 0.500 |" in text
    _, same = text.split("## On the same seeds")
    assert "| over 1 task, 1 seed of each, after trials | 1 |" in same
    assert "| random | 0.800 |" in same
    assert "| plain | 1.00 |" in same
    assert "same seeds" not in report(measured[3:], baseline="plain", heading="", failures={})
    assert "same seeds" not in report([measured[0], measured[-1]], baseline="plain", heading="", failures={})


def test_a_report_of_nothing_says_why() -> None:
    assert "- cell: it broke" in report([], baseline=None, heading="None", failures={"cell": "it broke"})


NEVER = [None, None]


@pytest.mark.parametrize("without", [NEVER, [math.inf, math.inf], []])
def test_a_cell_without_a_value_counts_as_the_worst_of_its_task(without: list[float | None]) -> None:
    measured = [cell("a", [0.9, 0.1]), cell("b", [0.5, 0.4]), cell("b", without, seed=1), cell("a", [9.0, 9.0], "s/u")]
    found = regrets_at(measured, 2)
    assert (found["s/t", "b", 1], len(found)) == (0.4, 4)
    assert regrets_at(measured, 1)["s/t", "b", 1] == 0.9


def test_a_cell_that_ended_early_keeps_its_best() -> None:
    assert regrets_at([cell("a", [0.9, 0.6]), cell("b", [0.2] * 5)], 5)["s/t", "a", 0] == 0.6


def test_a_cell_that_failed_counts_only_where_its_method_has_another() -> None:
    measured = [cell("a", [0.3]), cell("b", [0.2])]
    failed = [("s/t", "b", 1), ("s/t", "c", 0), ("s/u", "a", 0)]
    assert regrets_at(measured, 1, failed) == {("s/t", "a", 0): 0.3, ("s/t", "b", 0): 0.2, ("s/t", "b", 1): 0.3}
    text = report(measured, baseline=None, heading="Heading", failures={}, failed=failed)
    assert "| b | 0.250 |" in text


def test_a_task_without_any_value_is_left_out() -> None:
    assert regrets_at([cell("a", NEVER), cell("b", [math.inf, math.inf], "s/u")], 2) == {}


def test_an_infinite_regret_makes_no_mean_meaningless() -> None:
    curves = {"a": [math.inf, math.inf], "b": [math.inf, 0.0]}
    measured = [cell(name, curve, task) for name, curve in curves.items() for task in ("s/t", "s/u")]
    text = report([*measured, cell("c", [0.5, 0.5])], baseline="a", heading="Heading", failures={})
    assert "nan" not in text
    assert "inf" not in text.replace("infinite", "")
