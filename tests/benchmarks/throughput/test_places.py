"""The benchmark of places: what it measures, and that each place is in its tables."""

import time
from typing import Any

import anyio
import pytest

from benchmarks.throughput.places import (
    Burn,
    Length,
    Objective,
    Result,
    beside,
    empty_calls,
    nothing,
    run_on,
    tables,
    taken,
    trials_of,
)
from optuna_llm import ThreadWorkers


def test_a_place_is_measured_from_its_first_call_to_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    moments, cpu, calls = iter([10.0, 12.5]), iter([1.0, 1.25]), list[tuple[Objective, int]]()
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    monkeypatch.setattr("time.process_time", lambda: next(cpu))

    def place(objective: Objective, number: int) -> None:
        calls.append((objective, number))

    took = taken(place, nothing, 4)
    assert (took.wall, took.cpu) == (2.5, 0.25)
    assert calls == [(nothing, 4)]


def test_a_place_stands_beside_the_pool_of_the_same_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 7.0])  # the pool, the place, the pool, the place
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    length = beside(lambda *_: None, lambda *_: None, 0.2, 4, 2)
    assert (length.cpu_seconds, length.ratios, length.busy) == (0.2, [0.5, 1.0], 1.0)


def test_an_objective_takes_its_cpu() -> None:
    before = time.thread_time()
    Burn(0.02)(None)
    assert 0.02 <= time.thread_time() - before < 2


def test_longer_objectives_take_the_same_time_in_all_but_are_not_too_few() -> None:
    assert [trials_of(seconds, 0.05, 80) for seconds in (0.05, 0.1, 0.2, 1.0)] == [80, 40, 20, 8]
    assert trials_of(1.0, 0.05, 4) == 4


def test_a_run_is_a_place() -> None:
    seen: list[int] = []

    def objective(trial: Any) -> float:
        seen.append(trial.number)
        return 1.0

    report = run_on(ThreadWorkers(2), prefetch=1)(objective, 3)
    assert sorted(seen) == [0, 1, 2]
    assert report is not None
    assert report.n_complete == 3


def test_an_empty_call_takes_some_time() -> None:
    assert 0 < anyio.run(empty_calls, ThreadWorkers()) < 1


def test_each_place_has_a_line_for_each_length_and_one_for_its_overhead() -> None:
    lengths = [Length(cpu_seconds=seconds, ratios=[0.9, 0.5, 0.95], cpu=0.004, busy=0.97) for seconds in (0.05, 1.0)]
    results = {name: Result(lengths=lengths, overhead=0.004) for name in ("processes", "threads")}
    results["prefetch"] = Result(lengths=lengths[:1], overhead=None)
    lines = list(tables(results))
    ratios = [
        f"| {name} | {length} | 0.90 | 0.50 | 0.95 | 4.00 | 0.97 |" for name in results for length in ("0.05", "1")
    ]
    assert lines[2:7] == ratios[:5]
    assert lines[-2:] == ["| processes | 4.00 |", "| threads | 4.00 |"]
