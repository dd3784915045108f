"""A stand-in for Slurm: commands of its names, which run jobs on this machine."""

import os
from pathlib import Path
from typing import Final

# Runs a job at once, on this machine, in the environment of whoever submits it; keeps its script.
_SBATCH: Final = """\
#!/bin/sh
for script; do :; done
cp "$script" "$(mktemp "$SUBMITTED/script.XXXXXX")"
sh -c 'export SLURM_JOB_ID=$$ SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
       export SLURM_JOB_NODELIST=here; exec bash "$0"' "$script" >"$SUBMITTED/output.$$" 2>&1 &
touch "$SUBMITTED/job.$!"
case $1 in --parsable) echo $! ;; *) echo "Submitted batch job $!" ;; esac
"""
# Says whether the key has come along, and runs the command in this very process.
_SRUN: Final = """\
#!/bin/sh
echo "${OPENAI_API_KEY-none}" >"$(mktemp "$SUBMITTED/key.XXXXXX")"
while [ "${1#--}" != "$1" ]; do case $1 in --output | --error) shift 2 ;; *) shift ;; esac; done
exec "$@"
"""
_SACCT: Final = """\
#!/bin/sh
echo 'JobID|State|NodeList'
"""
_SCONTROL: Final = """\
#!/bin/sh
echo here
"""
_SQUEUE: Final = """\
#!/bin/sh
cd "$SUBMITTED" || exit
for job in job.*; do
    if kill -0 "${job#job.}" 2>/dev/null; then echo "${job#job.}|me|R|tune|$PWD"; fi
done
"""


def slurm(folder: Path) -> dict[str, str]:
    """Put the commands into a folder; the environment that finds them, and says where they leave what was submitted."""
    commands, submitted = folder / "commands", folder / "submitted"
    commands.mkdir()
    submitted.mkdir()
    texts = {"sbatch": _SBATCH, "srun": _SRUN, "sacct": _SACCT, "scontrol": _SCONTROL, "squeue": _SQUEUE}
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o700)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "SUBMITTED": str(submitted)}
