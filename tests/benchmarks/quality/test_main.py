"""Whole runs of the quality benchmark, small enough for every day."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_support import SMALL, task
from optuna.distributions import IntDistribution

from benchmarks.quality.__main__ import main
from benchmarks.quality.experiment import BUILDERS, Outcome
from benchmarks.quality.measures import Measured
from benchmarks.quality.methods import METHODS
from benchmarks.quality.tasks.task import Evaluation, Params, Task


def run(out: Path, *more: str) -> Outcome:
    return main([*SMALL, "--out", str(out), *more])


def values(outcome: Outcome) -> dict[tuple[str, str], list[float | None]]:
    return {(cell.task, cell.method): list(cell.values) for cell in outcome.measured}


def test_a_run_measures_every_cell_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path)
    assert (first.evaluated, dict(first.failures)) == (4, {})
    assert all(len(cell.values) == 3 for cell in first.measured)
    assert all(
        cell.values[0] == other.values[0]
        for cell in first.measured
        for other in first.measured
        if cell.task == other.task
    )
    again = run(tmp_path)
    assert again.evaluated == 0
    assert again.measured == first.measured
    longer = run(tmp_path, "--trials", "5")
    assert longer.evaluated == 4
    assert all(values(longer)[key][:3] == found for key, found in values(first).items())
    text = (tmp_path / "report-first.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "## plain against the others, after 5 trials" in text
    lines = (tmp_path / "results-first.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Measured.of(json.loads(line)) for line in lines] == list(longer.measured)


DRAWING = ["--methods", "random,qmc,cma,menu-no-model,plain", "--tasks", "synthetic/branin", "--no-first"]


def test_seeds_are_counted_from_the_first(tmp_path: Path) -> None:
    both = run(tmp_path / "both", "--methods", "random", "--classical-seeds", "2", "--trials", "3")
    second = run(
        tmp_path / "second", "--methods", "random", "--classical-seeds", "1", "--first-seed", "1", "--trials", "3"
    )
    assert {cell.seed for cell in second.measured} == {1}
    assert [cell.values for cell in second.measured] == [cell.values for cell in both.measured if cell.seed == 1]


def test_a_continued_cell_draws_anew(tmp_path: Path) -> None:
    pytest.importorskip("cmaes")
    first = run(tmp_path, *DRAWING)
    longer = run(tmp_path, *DRAWING, "--trials", "6")
    assert dict(longer.failures) == {}
    assert all(values(longer)[key][:3] == found for key, found in values(first).items())
    assert all(len(set(found)) == 6 for found in values(longer).values())


def test_a_sequence_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sequence = ["--methods", "qmc", "--tasks", "synthetic/mixed"]
    run(tmp_path, *sequence)
    longer = run(tmp_path, *sequence, "--trials", "6")
    assert values(longer) == values(run(tmp_path / "unbroken", *sequence, "--trials", "6"))


def test_the_stand_in_for_a_model_draws_by_cell(tmp_path: Path) -> None:
    seeds = ["--methods", "plain", "--seeds", "2", "--no-first"]
    whole = run(tmp_path / "whole", *seeds)
    alone = run(tmp_path / "alone", *seeds, "--tasks", "synthetic/mixed")
    assert list(alone.measured) == [cell for cell in whole.measured if cell.task == "synthetic/mixed"]
    assert alone.measured[0].values != alone.measured[1].values


def test_a_deleted_study_is_replayed_from_its_recording(tmp_path: Path) -> None:
    first = run(tmp_path)
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, "--replay")
    assert (again.evaluated, dict(again.failures)) == (4, {})
    assert again.measured == first.measured
    assert len(list(tmp_path.rglob("recording-*.jsonl"))) == 2


def test_a_study_whose_journal_is_gone_is_replayed_whole(tmp_path: Path) -> None:
    methods = ["--methods", "plain,menu"]
    longer = run(tmp_path, *methods, "--trials", "6")
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, *methods, "--trials", "6", "--replay")
    assert dict(again.failures) == {}
    assert values(again) == values(longer)


def test_a_deleted_study_that_is_not_replayed_has_only_its_own_replies(tmp_path: Path) -> None:
    methods = ["--methods", "plain,menu-no-model"]
    first = run(tmp_path, *methods)
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, *methods)
    assert again.evaluated == 4
    spending = [(cell.invalid, cell.spent["calls"]) for cell in first.measured]
    assert [(cell.invalid, cell.spent["calls"]) for cell in again.measured] == spending
    assert len(list(tmp_path.rglob("earlier-1/recording-1.jsonl"))) == 4


def test_without_a_common_first_configuration_there_is_a_table_of_its_own(tmp_path: Path) -> None:
    first, other = run(tmp_path), run(tmp_path, "--no-first")
    assert other.evaluated == 4
    assert values(other) != values(first)
    calls = {cell.method: cell.spent["calls"] for cell in other.measured}
    assert calls == {"random": 0, "plain": 3}
    assert (tmp_path / "report-no-first.md").exists()


def test_cells_of_another_model_or_number_of_workers_belong_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    for other in (["--workers", "2"], ["--client", "openai/other"]):
        with pytest.raises(SystemExit):
            run(tmp_path, *other)
        assert "another --out" in capsys.readouterr().err
    assert run(tmp_path).evaluated == 0


def test_a_longer_cell_is_not_measured_as_a_shorter_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        run(tmp_path, "--trials", "2")
    assert "holds cells of 3 trials: choose another --out for --trials 2" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert run(tmp_path, "--tasks", "synthetic/valley", "--trials", "2").failures == {}


def test_a_longer_study_is_not_measured_as_a_shorter_one(tmp_path: Path) -> None:
    run(tmp_path)
    for path in tmp_path.rglob("measured.json"):
        path.unlink()
    outcome = run(tmp_path, "--trials", "2")
    assert all("holds 3 trials" in why for why in outcome.failures.values())
    assert (len(outcome.failures), list(tmp_path.rglob("measured.json"))) == (4, [])


def test_a_cell_that_stops_early_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two() -> Task:
        return replace(task({"n": IntDistribution(1, 2)}), name="synthetic/branin")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", two)
    outcome = run(tmp_path, "--tasks", "synthetic/branin", "--methods", "plain")
    assert list(outcome.failures.values()) == ["it ended after 2 of 3 trials"]
    assert outcome.status == 0
    assert [len(cell.values) for cell in outcome.measured] == [2]


def test_several_workers_see_each_others_configurations_in_flight(tmp_path: Path) -> None:
    outcome = run(tmp_path, "--workers", "2", "--trials", "6")
    assert dict(outcome.failures) == {}
    assert all(cell.near_in_flight is not None for cell in outcome.measured)
    one = run(tmp_path / "one", "--trials", "6")
    assert all(cell.near_in_flight is None for cell in one.measured)
    assert all(fast.seconds < slow.seconds for fast, slow in zip(outcome.measured, one.measured, strict=True))


def test_a_cell_that_fails_is_reported_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Task:
        raise RuntimeError("no such table")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", broken)
    outcome = run(tmp_path)
    assert len(outcome.measured) == 2
    assert set(outcome.failures.values()) == {"RuntimeError: no such table"}
    assert [(cell.task, cell.method) for cell in outcome.failed] == [
        ("synthetic/branin", "random"),
        ("synthetic/branin", "plain"),
    ]
    assert outcome.status == 1


def test_whoever_calls_it_keeps_their_levels_of_logging(tmp_path: Path) -> None:
    levels = [logging.getLogger(name).getEffectiveLevel() for name in ("optuna", "optuna_llm")]
    run(tmp_path, "--methods", "random")
    assert [logging.getLogger(name).getEffectiveLevel() for name in ("optuna", "optuna_llm")] == levels


def test_an_evaluation_that_fails_is_a_trial_without_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(params: Params) -> Evaluation:
        raise ValueError("diverged")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", lambda: replace(task(evaluate=evaluate), name="synthetic/branin"))
    outcome = main([*SMALL, "--tasks", "synthetic/branin", "--methods", "random", "--out", str(tmp_path)])
    assert [list(cell.values) for cell in outcome.measured] == [[None, None, None]]
    assert main([*SMALL, "--tasks", "synthetic/branin", "--methods", "random", "--out", str(tmp_path)]).evaluated == 0


@pytest.mark.parametrize("wrong", [["--tasks", "none/such"], ["--methods", "guess"], ["--trials", "0"]])
def test_what_does_not_exist_is_refused_with_the_names_that_do(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), *wrong])
    assert "there are" in capsys.readouterr().err or wrong == ["--trials", "0"]


def test_the_names_of_tasks_and_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--list"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("task ")] == list(BUILDERS)
    assert [line.split()[1] for line in lines if line.startswith("method ")] == list(METHODS)


def test_every_strategy_and_ablation_runs(tmp_path: Path) -> None:
    names = ["menu-no-model", *(name for name, method in METHODS.items() if method.model)]
    outcome = run(tmp_path, "--methods", ",".join(names), "--workers", "2")
    assert dict(outcome.failures) == {}
    assert {cell.method for cell in outcome.measured} == set(names)


def test_what_cannot_run_here_is_no_failure(tmp_path: Path) -> None:
    outcome = main(["--tasks", "synthetic/branin", "--methods", "plain", "--no-plot", "--out", str(tmp_path)])
    assert (list(outcome.failures), outcome.status) == (["plain"], 0)


def test_what_cannot_run_here_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "gp", replace(METHODS["gp"], needs=("no_such_module",)))
    outcome = run(tmp_path, "--methods", "gp,random", "--tasks", "synthetic/branin", "--classical-seeds", "2")
    assert list(outcome.failures) == ["gp"]
    missing, amount, *cells = capsys.readouterr().err.splitlines()
    assert missing.startswith("gp needs no_such_module: pip install no_such_module")
    assert amount == f"2 cells of 3 trials, in {tmp_path}"
    assert [line.partition(": ")[0] for line in cells] == ["synthetic/branin random 0", "synthetic/branin random 1"]
    assert all(re.search(r": 3 trials, best -?\d", line) for line in cells)


def test_a_cell_that_fails_has_a_line_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Task:
        raise RuntimeError("no such table")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", broken)
    run(tmp_path, "--tasks", "synthetic/branin", "--methods", "random")
    assert "synthetic/branin random 0: failed, RuntimeError: no such table" in capsys.readouterr().err
