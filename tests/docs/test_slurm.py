"""The guide to Slurm, where there is a stand-in for Slurm: what the page's script has submitted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from pages import ROOT
from slurm import slurm

PAGE = "docs/guides/slurm.md"
KEY = "sk-of-the-login-node-1234567890"


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in, which is found first, leaves what was submitted."""
    for name, value in slurm(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Path(os.environ["SUBMITTED"])


def run_page(folder: Path, *options: str) -> Path:
    page = folder / "page"
    page.mkdir()
    runner: list[str | Path] = [sys.executable, ROOT / "tests" / "snippets.py", *options]
    subprocess.run(runner, input=f"{PAGE}\t{page}\n", text=True, check=True, capture_output=True)
    assert (page / "_result.txt").read_text() == ""
    return page


@pytest.mark.slow
def test_each_trial_is_a_job_with_a_gpu_and_without_the_key(submitted: Path, tmp_path: Path) -> None:
    page = run_page(tmp_path)
    scripts = [text for path in submitted.glob("script.*") if "submitit" in (text := path.read_text())]
    assert len(scripts) == 8
    for script in scripts:
        options = dict(re.findall(r"#SBATCH --([a-z-]+)=(\S+)", script))
        wanted = {"gpus-per-node": "1", "cpus-per-task": "8", "partition": "gpu", "time": "60", "job-name": "tune"}
        assert options.items() >= wanted.items()
    assert [path.read_text() for path in submitted.glob("key.*")] == ["none\n"] * 8
    storage = JournalStorage(JournalFileBackend(str(page / "tune.log")))
    trials = optuna.load_study(study_name="tune-jobs", storage=storage).trials
    assert len(trials) == 8
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.intermediate_values for trial in trials)


@pytest.mark.examples
def test_executorlib_submits_the_template_for_each_trial(submitted: Path, tmp_path: Path) -> None:
    run_page(tmp_path, "--whole")
    scripts = [text for path in submitted.glob("script.*") if "submitit" not in (text := path.read_text())]
    assert len(scripts) == 4
    for script in scripts:
        options, _, command = script.partition("unset OPENAI_API_KEY\n")
        assert "#SBATCH --partition=gpu --gpus=1 --cpus-per-task=8 --time=01:00:00\n" in options
        assert "{{" not in script
        assert "executorlib" in command
