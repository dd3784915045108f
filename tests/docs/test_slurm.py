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

PAGE = "docs/guides/slurm.md"
KEY = "sk-of-the-login-node-1234567890"

# Runs a job at once, on this machine, in the environment of whoever submits it; keeps its script.
SBATCH = """\
#!/bin/sh
for script; do :; done
cp "$script" "$(mktemp "$SUBMITTED/script.XXXXXX")"
sh -c 'export SLURM_JOB_ID=$$ SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
       export SLURM_JOB_NODELIST=here; exec bash "$0"' "$script" >"$SUBMITTED/output.$$" 2>&1 &
echo "Submitted batch job $!"
"""
# Says whether the key has come along, and runs the command in this very process.
SRUN = """\
#!/bin/sh
echo "${OPENAI_API_KEY-none}" >"$(mktemp "$SUBMITTED/key.XXXXXX")"
while [ "${1#--}" != "$1" ]; do case $1 in --output | --error) shift 2 ;; *) shift ;; esac; done
exec "$@"
"""
SACCT = """\
#!/bin/sh
echo 'JobID|State|NodeList'
"""
SCONTROL = """\
#!/bin/sh
echo here
"""


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in, which is found first, leaves what was submitted."""
    commands, folder = tmp_path / "commands", tmp_path / "submitted"
    folder.mkdir()
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(folder))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return folder


@pytest.mark.slow
def test_each_trial_is_a_job_with_a_gpu_and_without_the_key(submitted: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    runner: list[str | Path] = [sys.executable, ROOT / "tests" / "snippets.py"]
    subprocess.run(runner, input=f"{PAGE}\t{page}\n", text=True, check=True, capture_output=True)
    assert (page / "_result.txt").read_text() == ""
    scripts = [path.read_text() for path in submitted.glob("script.*")]
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
