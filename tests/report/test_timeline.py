"""Who was busy when."""

from typing import Any

import pytest
from report_support import finished, llm_record, study_of

from optuna_llm.report.findings import findings_of
from optuna_llm.report.timeline import Timeline


def timeline_of(*trials: Any) -> Timeline:
    return findings_of(study_of(*trials)).timeline


def ran(began: float, ended: float, *, latency: float = 0.0, **record: Any) -> Any:
    return finished(began, ended, 1.0, llm=llm_record(latency=latency, **record))


def lanes(timeline: Timeline) -> dict[int, int]:
    """The lane of each trial."""
    return {part.trial: part.lane for part in timeline.stretches if part.kind == "COMPLETE"}


def kinds(timeline: Timeline, lane: int = 0) -> list[tuple[str, float, float]]:
    return [(part.kind, part.began, part.ended) for part in timeline.stretches if part.lane == lane]


def test_a_study_without_trials_has_no_stretches() -> None:
    assert timeline_of().stretches == []


def test_trials_that_overlap_are_on_different_lanes() -> None:
    timeline = timeline_of(ran(0, 4), ran(1, 3), ran(5, 6))
    assert lanes(timeline) == {0: 0, 1: 1, 2: 0}
    assert (timeline.evaluating_seconds, timeline.busiest, timeline.recorded) == (7.0, 2, False)


def test_a_trial_is_on_the_lane_of_the_worker_that_ran_it() -> None:
    timeline = timeline_of(ran(0, 1, worker=2), ran(2, 3, worker=0), ran(4, 5, worker=2))
    assert lanes(timeline) == {0: 2, 1: 0, 2: 2}
    assert (timeline.lanes, timeline.busiest, timeline.recorded) == (3, 1, True)


def test_a_trial_without_a_worker_is_packed_beyond_those_with_one() -> None:
    timeline = timeline_of(ran(0, 9, worker=1), ran(1, 2), ran(3, 4))
    assert lanes(timeline) == {0: 1, 1: 2, 2: 2}
    assert not timeline.recorded


@pytest.mark.parametrize("worker", [True, -1, "0", 10**9, None])
def test_what_is_no_number_of_a_worker_is_not_on_record(worker: object) -> None:
    assert lanes(timeline_of(ran(0, 1, worker=worker))) == {0: 0}
    assert not timeline_of(ran(0, 1, worker=worker)).recorded


def test_a_later_run_takes_the_lanes_of_one_that_has_ended() -> None:
    timeline = timeline_of(ran(0, 1, run="a", worker=1), ran(9, 10, run="b", worker=0))
    assert lanes(timeline) == {0: 1, 1: 0}
    assert timeline.runs == ["a", "b"]


def test_runs_at_the_same_time_are_beside_each_other() -> None:
    timeline = timeline_of(ran(0, 5, run="a", worker=0), ran(1, 2, run="b", worker=0), ran(6, 7, run="a", worker=0))
    assert lanes(timeline) == {0: 0, 1: 1, 2: 0}


def test_the_time_between_two_runs_is_nobodys_waiting() -> None:
    timeline = timeline_of(ran(0, 1, run="a"), ran(1000, 1001, run="b"))
    assert (timeline.waiting_seconds, timeline.model_seconds) == (0.0, 0.0)


def test_a_worker_waits_for_the_model_only_while_it_evaluates_nothing() -> None:
    timeline = timeline_of(ran(0, 4), ran(6, 8, latency=0.5))
    assert kinds(timeline) == [("COMPLETE", 0, 4), ("waiting", 4, 5.5), ("model", 5.5, 6), ("COMPLETE", 6, 8)]
    assert (timeline.model_seconds, timeline.waiting_seconds) == (0.5, 1.5)


def test_a_latency_that_an_evaluation_hides_is_nobodys_waiting() -> None:
    timeline = timeline_of(ran(0, 4), ran(4.5, 8, latency=3.0))
    assert (timeline.model_seconds, timeline.waiting_seconds) == (0.5, 0.0)


def test_trials_that_overlap_on_one_worker_make_no_negative_waiting() -> None:
    timeline = timeline_of(ran(0, 4, worker=0), ran(2, 5, worker=0, latency=1.0), ran(6, 7, worker=0))
    assert (timeline.model_seconds, timeline.waiting_seconds) == (0.0, 1.0)
