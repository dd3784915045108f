"""What no engine can beat."""

import pytest

from benchmarks.throughput.limits import (
    Costs,
    Limits,
    Load,
    Rates,
    Timeline,
    coupled,
    ideal_timeline,
    limits,
    pipelined,
)

LOAD = Load(n=10, workers=4, llm_seconds=2.0, objective_seconds=3.0)
FREE = Costs(cpu=0.0, storage=0.0)


def constant(load: Load) -> Timeline:
    return ideal_timeline(load, [load.llm_seconds] * load.n, [load.objective_seconds] * load.n)


def test_a_coupled_run_takes_both_latencies_once_per_wave() -> None:
    assert coupled(LOAD) == 3 * (2.0 + 3.0)


def test_a_pipelined_run_waits_for_the_model_once() -> None:
    assert pipelined(LOAD) == 2.0 + 3 * 3.0


def test_prefetch_decides_which_formula_limits_the_schedule() -> None:
    ahead = Load(n=10, workers=4, llm_seconds=2.0, objective_seconds=3.0, prefetch=4)
    assert limits(LOAD, FREE, Rates()).schedule == coupled(LOAD)
    assert limits(ahead, FREE, Rates()).schedule == pipelined(ahead)


def test_rates_cpu_and_storage_limit_n_trials() -> None:
    rates = Rates(requests_per_minute=30, tokens_per_minute=600, tokens_per_call=100)
    assert limits(LOAD, Costs(cpu=0.5, storage=0.25), rates) == Limits(
        schedule=15.0, requests=20.0, tokens=100.0, cpu=5.0, storage=2.5
    )


def test_infinite_rates_do_not_limit() -> None:
    found = limits(LOAD, FREE, Rates(tokens_per_call=100))
    assert (found.requests, found.tokens) == (0.0, 0.0)


def test_the_longest_makespan_is_the_binding_limit() -> None:
    found = limits(LOAD, Costs(cpu=0.5, storage=4.0), Rates())
    assert (found.binding, found.best) == ("storage", 40.0)


def test_a_given_schedule_replaces_the_formula() -> None:
    assert limits(LOAD, FREE, Rates(), 12.5).best == 12.5


@pytest.mark.parametrize("n", [1, 4, 5, 16])
def test_the_ideal_engine_reaches_the_coupled_limit(n: int) -> None:
    load = Load(n=n, workers=4, llm_seconds=2.0, objective_seconds=3.0)
    assert constant(load).makespan == coupled(load)


@pytest.mark.parametrize("llm_seconds", [1.0, 3.0])
def test_the_ideal_engine_reaches_the_pipelined_limit_while_the_model_keeps_up(llm_seconds: float) -> None:
    load = Load(n=16, workers=4, llm_seconds=llm_seconds, objective_seconds=3.0, prefetch=4)
    assert constant(load).makespan == pipelined(load)


def test_the_ideal_engine_gives_a_free_worker_the_next_call() -> None:
    load = Load(n=3, workers=2, llm_seconds=1.0, objective_seconds=1.0)
    timeline = ideal_timeline(load, [1.0, 5.0, 1.0], [1.0, 1.0, 1.0])
    assert timeline == Timeline(begins=(1.0, 3.0, 5.0), makespan=6.0)
