"""What is measured of a cell, by numbers computed by hand."""

import json

from benchmark_support import SPACE, task, trial
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.measures import Measured, best_so_far, duplicates, measure, near, near_in_flight
from benchmarks.quality.replies import Totals
from benchmarks.quality.tasks.task import Reference, regret


def test_best_so_far_follows_the_direction_and_skips_failures() -> None:
    values = [None, 3.0, 4.0, None, 2.0]
    assert best_so_far(values, "minimize") == [None, 3.0, 3.0, 3.0, 2.0]
    assert best_so_far(values, "maximize") == [None, 3.0, 4.0, 4.0, 4.0]


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=20))
def test_regret_of_the_best_so_far_never_grows(values: list[float | None]) -> None:
    best = best_so_far(values, "minimize")
    curve = [regret(value, Reference(best=-10.0, median=5.0)) for value in best if value is not None]
    assert curve == sorted(curve, reverse=True)


def test_nearness_is_measured_on_the_scale_of_each_float() -> None:
    here = {"x": 5.0, "rate": 1e-2, "kind": "a"}
    assert near(here, {**here, "x": 5.4}, SPACE, 0.05)
    assert not near(here, {**here, "x": 5.6}, SPACE, 0.05)
    assert near(here, {**here, "rate": 1.5e-2}, SPACE, 0.05)
    assert not near(here, {**here, "rate": 2e-2}, SPACE, 0.05)
    assert not near(here, {**here, "kind": "b"}, SPACE, 0.05)


def test_duplicates_repeat_an_earlier_configuration() -> None:
    here = {"x": 5.0, "rate": 1e-2, "kind": "a"}
    assert duplicates([here, {**here, "x": 5.005}, {**here, "x": 6.0}, here], SPACE) == 2


def test_only_what_runs_when_a_trial_is_created_is_in_flight() -> None:
    trials = [
        trial(0, 5.0, began=0, ended=10),
        trial(1, 5.2, began=1, ended=3),
        trial(2, 9.0, began=4, ended=5),
        trial(3, 5.1, began=10, ended=12),
    ]
    assert near_in_flight(trials, SPACE) == [True, False]


def test_a_cell_is_measured_from_its_trials_and_its_replies() -> None:
    llm = {"calls": 1, "repairs": ["x clamped"]}
    trials = [
        trial(0, 1.0, value=3.0),
        trial(1, 2.0, value=None, attributes={"llm": {"calls": 1, "repairs": []}}),
        trial(2, 3.0, value=1.0, began=5, ended=9, attributes={"llm": llm}),
    ]
    found = measure("t", "m", 4, trials, task(), totals=Totals(calls=5, exchanges=3, reasks=2), first=True)
    assert found.values == [3.0, None, 1.0]
    assert found.curve == [1.5, 1.5, 0.5]
    assert (found.invalid, found.repaired, found.seconds) == (1, 0.5, 9.0)
    assert Measured.of(json.loads(json.dumps(found.record()))) == found
