"""A cluster on two networks: the run reaches the scheduler, and the workers the scheduler and one another."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# The run has a cable to the scheduler's host, which passes nothing on; the workers have theirs to a switch there.
SCHEDULER, RUN, WORKERS = "optuna-llm-s", "optuna-llm-r", ("optuna-llm-1", "optuna-llm-2")
ADDRESS = {RUN: "10.77.1.2", WORKERS[0]: "10.77.2.2", WORKERS[1]: "10.77.2.3"}

SCRIPT = """
import os, signal, sys, time, anyio, distributed, optuna
from optuna.distributions import FloatDistribution
from optuna_llm import DaskWorkers, FunctionClient, LLMGuidedSampler, optimize_async

folder = sys.argv[1]

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.report(x, 0)
    trial.set_user_attr("network", os.readlink("/proc/self/ns/net"))
    if trial.number == 3 and not os.path.exists(f"{folder}/killed"):
        open(f"{folder}/killed", "w").close()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if trial.should_prune():
        raise optuna.TrialPruned
    time.sleep(0.1)
    return x

async def main():
    async with distributed.Client("tcp://10.77.1.1:8786", asynchronous=True) as client:
        async with DaskWorkers(client, slots=4) as workers:
            await optimize_async(study, objective, n_trials=24, search_space=SPACE, workers=workers)

SPACE = {"x": FloatDistribution(0.0, 1.0)}
sampler = LLMGuidedSampler(FunctionClient(lambda request: {"rationale": "", "x": 0.5}), strategy="plain")
study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())
anyio.run(main)
assert all(trial.state.name == "COMPLETE" and trial.intermediate_values for trial in study.trials), study.trials
networks = {trial.user_attrs["network"] for trial in study.trials}
print(len(study.trials), len(networks), os.readlink("/proc/self/ns/net") in networks)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def networks() -> Iterator[None]:
    """Network namespaces with cables between them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and `ip`")
    with ExitStack() as undo:
        for name in (SCHEDULER, *ADDRESS):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
            undo.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", SCHEDULER, "link", "add", "switch", "type", "bridge")
        for number, (name, address) in enumerate(ADDRESS.items()):
            ip("link", "add", f"to{number}", "netns", SCHEDULER, "type", "veth", "peer", "name", "cable", "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", SCHEDULER, "link", "set", f"to{number}", "up")
            if name in WORKERS:
                ip("-n", SCHEDULER, "link", "set", f"to{number}", "master", "switch")
        for address, device in (("10.77.1.1/24", "to0"), ("10.77.2.1/24", "switch")):
            ip("-n", SCHEDULER, "addr", "add", address, "dev", device)
            ip("-n", SCHEDULER, "link", "set", device, "up")
        yield


def inside(name: str, *arguments: str) -> list[str]:
    return ["ip", "netns", "exec", name, sys.executable, *arguments]


@pytest.mark.slow
@pytest.mark.usefixtures("networks")
def test_trials_reports_and_lost_workers_over_several_networks(tmp_path: Path) -> None:
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error"}
    with ExitStack() as undo:

        def start(command: list[str]) -> None:
            process = undo.enter_context(subprocess.Popen(command, env=quiet, cwd=tmp_path))
            undo.callback(process.kill)

        serve = ("-m", "distributed.cli.dask_scheduler", "--host", "0.0.0.0", "--port", "8786", "--no-dashboard")
        start(inside(SCHEDULER, *serve))
        for name in WORKERS:
            where = ("tcp://10.77.2.1:8786", "--host", ADDRESS[name], "--local-directory", str(tmp_path / name))
            start(inside(name, "-m", "distributed.cli.dask_worker", *where, "--nthreads", "2", "--no-dashboard"))
        began = time.monotonic()
        done = subprocess.run(
            inside(RUN, "-c", SCRIPT, str(tmp_path)), env=quiet, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["24", "2", "False"]
    assert (tmp_path / "killed").exists()
    assert time.monotonic() - began < 90
