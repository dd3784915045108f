"""The arithmetic of comparisons, by numbers computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.comparison import (
    Interval,
    Regrets,
    bootstrap,
    common_tasks,
    mean_ranks,
    overall,
    paired,
    ranks,
    shared,
    task_means,
    wilcoxon,
)

REGRETS: Regrets = {
    ("t1", "one", 0): 0.1,
    ("t1", "one", 1): 0.3,
    ("t1", "two", 0): 0.4,
    ("t2", "one", 0): 0.8,
    ("t2", "two", 0): 0.4,
    ("t3", "one", 0): 0.0,
}


def test_the_mean_of_a_method_counts_each_common_task_alike() -> None:
    assert task_means(REGRETS)["t1"] == pytest.approx({"one": 0.2, "two": 0.4})
    assert common_tasks(REGRETS) == ["t1", "t2"]
    assert overall(REGRETS) == pytest.approx({"one": 0.5, "two": 0.4})


def test_shared_are_the_seeds_of_each_task_that_all_methods_have() -> None:
    assert shared(REGRETS) == {key: REGRETS[key] for key in REGRETS if key[0] in ("t1", "t2") and key[2] == 0}
    assert shared({("t", "one", 0): 0.1, ("t", "two", 1): 0.2}) == {}


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks({"a": 0.1, "b": 0.2, "c": 0.1, "d": 0.0}) == {"a": 2.5, "b": 4.0, "c": 2.5, "d": 1.0}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 10), min_size=1, max_size=8))
def test_ranks_always_have_the_same_sum(values: dict[str, float]) -> None:
    n = len(values)
    assert sum(ranks(values).values()) == pytest.approx(n * (n + 1) / 2)


def test_the_mean_rank_is_over_common_tasks() -> None:
    assert mean_ranks(REGRETS) == {"one": 1.5, "two": 1.5}


def test_pairs_are_cells_of_the_same_task_and_seed() -> None:
    found = paired(REGRETS, "one", "two")
    assert (found.pairs, found.wins, found.losses) == (2, 1, 1)
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.05)
    assert paired(REGRETS, "one", "three").p is None


def test_each_task_counts_alike_in_a_comparison_of_two_methods() -> None:
    regrets = {("a", "one", seed): 0.0 for seed in range(3)} | {("a", "two", seed): 3.0 for seed in range(3)}
    found = paired(regrets | {("b", "one", 0): 2.0, ("b", "two", 0): 1.0}, "one", "two")
    assert found.difference is not None
    assert (found.tasks, found.pairs, found.wins, found.losses, found.difference.mean) == (2, 4, 3, 1, -1.0)


def test_pairs_of_a_task_are_no_more_evidence_than_tasks_are() -> None:
    regrets = {(name, "two", seed): 1.0 for name in "abcdef" for seed in range(5)}
    regrets |= {(name, "one", seed): 0.5 - ord(name) / 1000 - seed / 100 for name in "abcdef" for seed in range(5)}
    found = paired(regrets, "one", "two")
    assert found.p is not None
    assert found.p < 1e-6
    assert found.p_tasks == pytest.approx(2 / 2**6)


def test_wilcoxon_is_the_exact_test_for_few_pairs() -> None:
    assert wilcoxon([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]) == pytest.approx(2 / 2**6)
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_the_bootstrap_interval_holds_the_mean_and_follows_from_its_seed() -> None:
    found = bootstrap([[0.0, 1.0], [2.0, 3.0]], resamples=500)
    assert found.mean == 1.5
    assert 0.0 <= found.low < 1.5 < found.high <= 3.0
    assert found == bootstrap([[0.0, 1.0], [2.0, 3.0]], resamples=500)
    assert bootstrap([[2.0, 2.0], [2.0]]) == Interval(mean=2.0, low=2.0, high=2.0)


def test_seeds_of_a_task_are_resampled_within_it() -> None:
    tasks = bootstrap([[0.0] * 50, [1.0] * 50], resamples=500)
    assert (tasks.low, tasks.high) == (0.0, 1.0)
    seeds = bootstrap([[0.0, 1.0] * 50], resamples=500)
    assert 0.3 < seeds.low < 0.5 < seeds.high < 0.7
