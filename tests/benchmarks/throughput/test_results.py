"""Statistics of repeats, targets and the table."""

import pytest

from benchmarks.throughput.limits import Timeline
from benchmarks.throughput.results import (
    Lag,
    Phases,
    Result,
    Spread,
    Target,
    lag,
    percentile,
    phase_notes,
    phases,
    spread,
    table,
)


def result(median: float = 0.98, target: Target | None = None) -> Result:
    return Result(case="case", unit="ratio", value=Spread(median=median, low=0.5, high=1.0), target=target)


def test_phases_split_a_run_at_the_first_full_house_and_the_last_begin() -> None:
    timeline = Timeline(begins=(1.0, 2.0, 5.0, 7.0), makespan=10.0)
    assert phases(timeline, 2) == Phases(ramp=2.0, steady=5.0, drain=3.0)


def test_a_run_with_fewer_trials_than_workers_has_no_steady_state() -> None:
    assert phases(Timeline(begins=(1.0, 1.5), makespan=3.0), 8) == Phases(ramp=1.5, steady=0.0, drain=1.5)


def test_phases_that_do_not_exist_are_left_out_of_the_notes() -> None:
    ideal, real = Phases(ramp=1.0, steady=0.0, drain=3.0), Phases(ramp=2.0, steady=0.1, drain=4.0)
    assert phase_notes([ideal], [real]) == {"ramp": 0.5, "drain": 0.75}


def test_a_spread_is_median_minimum_and_maximum() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0, 4.0]) == Spread(median=3.0, low=1.0, high=9.0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_the_smallest_value_that_covers_the_share(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_lag_keeps_the_single_worst_sample_apart_from_p99() -> None:
    assert lag([0.001] * 199 + [0.5]) == Lag(p50=0.001, p99=0.001, worst=0.5)


@pytest.mark.parametrize(
    ("sense", "value", "met"),
    [
        (">=", 0.97, True),
        (">=", 0.96, False),
        ("<=", 0.97, True),
        ("<=", 0.98, False),
        ("<", 0.97, False),
        ("<", 0.96, True),
    ],
)
def test_a_target_is_met_on_its_side_of_the_bound(sense: str, value: float, met: bool) -> None:
    assert Target(sense=sense, bound=0.97).met_by(value) is met  # type: ignore[arg-type]


def test_a_result_without_a_target_is_neither_met_nor_missed() -> None:
    assert result().met is None


def test_the_table_says_which_targets_are_met() -> None:
    bound = Target(sense=">=", bound=0.97)
    _, met, missed, free = table([result(0.98, bound), result(0.9, bound), result()]).splitlines()
    assert " met" in met
    assert "NOT MET" in missed
    assert "met" not in free.lower()


def test_the_columns_of_the_table_are_aligned() -> None:
    header, first, second = table([result(0.98), result(1234.5)]).splitlines()
    assert header.index("unit") == first.index("ratio") == second.index("ratio")
