"""The benchmarks' arithmetic, and one run of them small enough for every day."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts that import each other, not a package

import caching  # noqa: E402
from limits import Costs, Limits, Load, Rates, Timeline, coupled, ideal_timeline, limits, pipelined  # noqa: E402
from results import (  # noqa: E402
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
from throughput import main, selected  # noqa: E402
from workload import SPACE, latencies, random_params  # noqa: E402

LOAD = Load(n=10, workers=4, llm_seconds=2.0, objective_seconds=3.0)
FREE = Costs(cpu=0.0, storage=0.0)


def constant(load: Load) -> Timeline:
    return ideal_timeline(load, [load.llm_seconds] * load.n, [load.objective_seconds] * load.n)


def result(median: float = 0.98, target: Target | None = None) -> Result:
    return Result(case="case", unit="ratio", value=Spread(median=median, low=0.5, high=1.0), target=target)


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


def test_lognormal_latencies_keep_their_mean_and_follow_from_the_seed() -> None:
    drawn = latencies("lognormal", 2.0, 20_000, seed=1)
    assert math.isclose(sum(drawn) / len(drawn), 2.0, rel_tol=0.02)
    assert drawn == latencies("lognormal", 2.0, 20_000, seed=1) != latencies("lognormal", 2.0, 20_000, seed=2)


def test_a_past_configuration_has_a_valid_value_for_every_parameter() -> None:
    rng = random.Random(3)
    for _ in range(50):
        params = random_params(rng)
        assert params.keys() == SPACE.keys()
        assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in params.items())


def test_only_selects_by_the_beginning_of_the_name() -> None:
    assert {case.name for case in selected(["lag"], quick=True)} == {"lag memory", "lag journal", "lag sqlite"}


def test_a_quick_run_leaves_out_what_takes_long_to_fill_unless_it_is_named() -> None:
    assert "trial journal 20000" not in {case.name for case in selected([], quick=True)}
    assert "trial journal 20000" in {case.name for case in selected(["trial journal"], quick=True)}


def test_an_unknown_case_is_refused_with_the_names_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "memory W=64" in capsys.readouterr().err


def test_a_small_run_measures_ratios_and_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.json"
    names = ["--only", "memory W=8", "--only", "optimize n_jobs=8", "--only", "proposal 100"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "throughput.py", "--quick", *names, "--json", path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {line["case"]: line for line in json.loads(path.read_text(encoding="utf-8"))["results"]}
    assert 0 < written["memory W=8"]["value"]["median"] <= 1
    assert 0 < written["optimize n_jobs=8, memory"]["value"]["median"] <= 1
    assert written["CPU per proposal, 100 trials"]["met"] in (True, False)
    assert all(case in done.stdout for case in written)


@pytest.mark.parametrize(("uncached", "ago"), [(100, 1), (136, 1), (150, 2), (190, 3), (500, None)])
def test_the_prompt_that_an_ask_goes_on_from_is_told_by_what_the_server_read(uncached: int, ago: int | None) -> None:
    rows = tuple([20] * 9)
    earlier = [caching.Asked(prompt=400, uncached=400, tail=100, title=25, rows=rows[:n]) for n in (5, 6, 8)]
    last = caching.Asked(prompt=500, uncached=uncached, tail=100, title=25, rows=rows)
    assert caching.age([*earlier, last], 3) == ago


def test_the_first_table_costs_its_title_as_well() -> None:
    first = caching.Asked(prompt=300, uncached=300, tail=100, title=25, rows=())
    then = caching.Asked(prompt=350, uncached=145, tail=100, title=25, rows=(20,))
    assert caching.age([first, then], 1) == 1
