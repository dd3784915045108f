"""Every example runs as it is, in a fresh interpreter, from another folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT = 240


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_async_objective_finds_a_best_and_prints_its_report(tmp_path: Path) -> None:
    output = run("async_objective.py", tmp_path)
    assert re.search(r"^Best: \d+\.\d{4} with \{'lr': .*'layers': \d\}$", output, re.MULTILINE)
    report = re.search(r"^Report: (\d+) complete, (\d+) pruned, 0 failed", output, re.MULTILINE)
    assert report is not None
    assert int(report[1]) + int(report[2]) == 24


def test_ask_tell_asks_three_batches_with_consecutive_numbers(tmp_path: Path) -> None:
    output = run("ask_tell.py", tmp_path)
    numbers = [int(number) for batch in re.findall(r"trials \[(.*?)\]", output) for number in batch.split(", ")]
    assert sorted(numbers) == list(range(12))


def test_the_drop_in_keeps_only_the_names_of_the_branch(tmp_path: Path) -> None:
    trials = re.findall(r"^ +\d+  \d\.\d{4}  (.*)$", run("drop_in.py", tmp_path), re.MULTILINE)
    assert len(trials) == 12
    assert all(("'C'" in trial) == ("'logistic'" in trial) for trial in trials)
    assert all(("'max_depth'" in trial) == ("'tree'" in trial) for trial in trials)


@pytest.mark.slow
def test_the_demo_prints_every_trial_the_best_and_the_report(tmp_path: Path) -> None:
    output = run("demo.py", tmp_path)
    assert (
        len(re.findall(r"^ +\d+  COMPLETE +\d\.\d{4}  C=\S+ +gamma=\S+ +kernel=\w+ +components=\d+", output, re.M))
        == 12
    )
    assert re.search(r"^Best: trial \d+, accuracy 0\.\d{4}", output, re.MULTILINE)
    assert re.search(r"^Report: 12 complete, 0 pruned, 0 failed", output, re.MULTILINE)
    assert "embedded model is tiny" in output


def test_a_recorded_run_is_replayed_to_the_same_proposals(tmp_path: Path) -> None:
    output = run("record_and_replay.py", tmp_path)
    assert "Recorded: 12 trials" in output
    assert "Replayed: 12 trials" in output
    assert "The same proposals." in output


def test_every_example_has_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'run("{path.name}"' not in source] == []
