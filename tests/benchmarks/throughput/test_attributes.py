"""The benchmark of flat attributes: what is left out is they alone, and each storage is in its table."""

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.throughput.attributes import (
    Cost,
    Result,
    measure,
    median,
    record,
    table,
    trial_costs,
    without_flat,
)
from benchmarks.throughput.storages import place


def test_with_and_without_differ_by_what_is_flat_alone() -> None:
    whole = record(1)
    assert without_flat(whole) == {"llm": whole["llm"]}
    assert set(whole) - {"llm"} == {"llm:role", "llm:cost", "llm:tokens", "llm:latency", "llm:rationale"}


def test_trials_are_told_and_some_of_them_get_notes() -> None:
    study = optuna.create_study()
    costs = [trial_costs(study, number, without_flat) for number in range(20)]
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) == 2
    assert sum(bool(trial.user_attrs["llm"]["reasks"]) for trial in study.trials) == 2
    assert all(set(trial.user_attrs) == {"llm"} for trial in study.trials)
    assert all(0 < cost.write.wall < cost.trial.wall for cost in costs)


def test_a_median_is_of_either_time() -> None:
    assert median([Cost(cpu=1.0, wall=9.0), Cost(cpu=2.0, wall=8.0), Cost(cpu=9.0, wall=1.0)]) == Cost(
        cpu=2.0, wall=8.0
    )


def test_each_repeat_gives_a_ratio() -> None:
    with place("memory") as where:
        result = measure(where, 3, 2)
    assert [len(costs) for costs in (result.writes, result.trials, result.bare)] == [2, 2, 2]
    assert result.notes.wall > 0


def test_a_line_has_medians_with_their_extremes() -> None:
    costs = [Cost(cpu=1.0 + 0.1 * i, wall=2.0) for i in range(3)]
    bare = [Cost(cpu=0.01, wall=0.02)]
    result = Result(writes=costs, trials=costs, bare=bare, notes=Cost(cpu=0.005, wall=0.01))
    median = "1.10 (1.00 to 1.20) | 2.00 (2.00 to 2.00)"
    assert list(table({"sqlite": result}))[2:] == [f"| sqlite | {median} | {median} | 10.0 | 0.50 |"]


def test_what_was_spent_since() -> None:
    assert Cost(cpu=3.0, wall=5.0).less(Cost(cpu=2.0, wall=1.0)) == Cost(cpu=1.0, wall=4.0)


def test_how_much_more_one_cost_is_than_another() -> None:
    more = Cost(cpu=3.0, wall=1.0).over(Cost(cpu=2.0, wall=4.0))
    assert (more.cpu, more.wall) == pytest.approx((1.5, 0.25))
