"""What examples print, to the number; that each runs as it stands, with the wheel, is in `test_installed.py`."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from example_runs import EXAMPLES, SCHEMA_MODEL, changed, environment, run

LONGEST = 60  # lines, of what is to be read at one glance
SHOWS = {"demo.py"}  # more than an example, with a test of its own
SCRIPTS = sorted(
    path.relative_to(EXAMPLES).as_posix()
    for path in [*EXAMPLES.glob("*.py"), *(EXAMPLES / "libraries").glob("*.py")]
    if path.name not in SHOWS
)
OWN_MODELS = {"record_and_replay.py", "libraries/instructor_client.py"}  # what they show is the client


def run_with(name: str, folder: Path, **constants: Any) -> str:
    return run(name, folder, MODEL=SCHEMA_MODEL, **constants)


def test_the_async_objective_tells_finished_and_pruned_programs(tmp_path: Path) -> None:
    output = run_with("async_objective.py", tmp_path)
    assert re.search(r"^Best: \S+ with \{'step': .*'momentum': \S+\}$", output, re.MULTILINE)
    report = re.search(r"^Report: (\d+) complete, (\d+) pruned, 0 failed", output, re.MULTILINE)
    assert report is not None
    assert int(report[1]) + int(report[2]) == 10


def test_the_service_answers_every_trial(tmp_path: Path) -> None:
    output = run_with("http_service.py", tmp_path)
    assert re.search(r"^10 trials. The best costs \d+\.\d\d a day: \{'reorder_at': \d+, 'order_size': \d+\}$", output)


def test_ask_tell_asks_three_batches_with_consecutive_numbers(tmp_path: Path) -> None:
    output = run_with("ask_tell.py", tmp_path)
    numbers = [int(number) for batch in re.findall(r"trials \[(.*?)\]", output) for number in batch.split(", ")]
    assert sorted(numbers) == list(range(12))


def test_the_drop_in_keeps_only_the_names_of_the_branch(tmp_path: Path) -> None:
    trials = re.findall(r"^ +\d+  \d\.\d{4}  (.*)$", run_with("drop_in.py", tmp_path, N_TRIALS=6), re.MULTILINE)
    assert len(trials) == 6
    assert all(("'C'" in trial) == ("'logistic'" in trial) for trial in trials)
    assert all(("'max_depth'" in trial) == ("'tree'" in trial) for trial in trials)


def test_a_recorded_run_is_replayed_to_the_same_proposals(tmp_path: Path) -> None:
    output = run("record_and_replay.py", tmp_path)
    assert "Recorded: 12 trials" in output
    assert "Replayed: 12 trials" in output
    assert "The same proposals." in output


def test_the_budget_ends_the_first_run_and_the_second_goes_on(tmp_path: Path) -> None:
    first, second = run_with("budget_and_resume.py", tmp_path).splitlines()
    assert re.search(r"requests=4\): ended by budget, [1-4] of 8 trials", first)
    assert "ended by total_trials, 8 of 8 trials" in second


@pytest.mark.slow
def test_several_processes_share_the_total(tmp_path: Path) -> None:
    output = run_with("several_processes.py", tmp_path)
    shares = re.search(r"^2 processes ended with \[0, 0\]. Trials of each: \[(.*)\]$", output, re.MULTILINE)
    assert shares is not None
    assert sum(map(int, shares[1].split(", "))) == 8
    assert re.search(r"^Best of 8: \d+\.\d\d m", output, re.MULTILINE)


@pytest.mark.slow
def test_the_comparison_has_a_row_for_each_sampler(tmp_path: Path) -> None:
    rows = run_with("compare_with_tpe.py", tmp_path, N_TRIALS=4, N_SEEDS=2).splitlines()
    assert rows[0] == "Median of the best R^2 after 1, 2, 4 trials:"
    for row, name in zip(rows[1:4], ("1 run", "TPE, 2 runs", "random, 2 runs"), strict=True):
        assert re.search(rf"{name}(  -?\d\.\d{{4}}){{3}}$", row), row


@pytest.mark.slow
def test_cross_validation_prunes_or_completes_every_trial(tmp_path: Path) -> None:
    output = run_with("libraries/scikit_learn.py", tmp_path, N_TRIALS=6)
    counts = re.search(r"^(\d) trials complete, (\d) pruned$", output, re.MULTILINE)
    assert counts is not None
    assert int(counts[1]) + int(counts[2]) == 6
    assert output.startswith("Data: 442 rows, 10 columns")


@pytest.mark.slow
def test_the_estimator_that_tunes_itself_scores_on_new_data(tmp_path: Path) -> None:
    output = run_with("libraries/optuna_search_cv.py", tmp_path, N_TRIALS=4)
    assert re.search(r"^Best of 4: 0\.\d{4} in cross-validation with \{'svc__C': .*\}$", output, re.MULTILINE)
    assert re.search(r"^Accuracy on data that no trial has seen: 0\.\d+$", output, re.MULTILINE)


@pytest.mark.slow
def test_boosting_reports_every_round_from_its_process(tmp_path: Path) -> None:
    output = run_with("libraries/lightgbm_pruning.py", tmp_path, N_TRIALS=5, ROUNDS=12)
    rounds = [(state, int(number)) for state, number in re.findall(r"^ +\d+  (\w+) +(\d+) rounds", output, re.M)]
    assert len(rounds) == 5
    assert {number for state, number in rounds if state == "COMPLETE"} == {12}
    assert all(5 < number <= 12 for state, number in rounds if state == "PRUNED")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_says_what_it_shows_and_needs(name: str) -> None:
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    described = ast.get_docstring(ast.parse(source)) or ""
    assert len(source.splitlines()) <= LONGEST
    assert "pip install" in described
    if name not in OWN_MODELS:
        assert 'MODEL = "local"  # or "openai/' in source
    assert 'if __name__ == "__main__":' in source


@pytest.mark.parametrize("name", [*SCRIPTS, "notebook.ipynb"])
def test_an_example_is_listed(name: str) -> None:
    assert f"`{name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"`examples/{name}`" in (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")


def test_a_constant_that_is_not_there_cannot_be_changed() -> None:
    with pytest.raises(AssertionError, match="N_TRIAL"):
        changed("N_TRIALS = 3\n", {"N_TRIAL": 1})
    assert changed("N_TRIALS = 3\n", {"N_TRIALS": 1}) == "N_TRIALS = 1\n"


def test_a_script_reaches_nothing_beyond_loopback(tmp_path: Path) -> None:
    script = "import socket; socket.getaddrinfo('example.com', 80)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "beyond loopback: 'example.com'" in done.stderr
