"""Clusters and clients: those that a user gives, those that die, and what is left of them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import distributed
import optuna
import pytest
from optuna.trial import TrialState
from support import SPACE, sampler

from optuna_llm import DaskWorkers, UsageError, WorkerError, optimize_async

LOCAL: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": 0}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One worker process with two threads and one GPU."""
    folder = str(tmp_path_factory.mktemp("dask"))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, resources={"GPU": 1}, local_directory=folder, **LOCAL
    ) as one:
        yield one


async def trials_of(workers: Any, objective: Callable[[Any], Any], n_trials: int, **options: Any) -> list[Any]:
    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, objective, n_trials=n_trials, search_space=SPACE, workers=workers, **options)
    return study.trials


def pid(trial: Any) -> float:
    time.sleep(0.2)
    return float(os.getpid())


def ended(pids: set[int], seconds: float) -> bool:
    """Whether all of these processes end within a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_lives(each) for each in pids):
            return True
        time.sleep(0.05)
    return False


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_asynchronous_client_on_the_callers_loop_stays_open_and_its_processes_end(cluster: Any) -> None:
    async def main() -> set[int]:
        async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            async with DaskWorkers(client) as workers:
                assert workers.slots == 2
                trials = await trials_of(workers, pid, 6)
            assert client.status == "running"
            pids = {int(trial.value) for trial in trials}
            assert len(pids) == 2
            assert await asyncio.to_thread(ended, pids, 5.0)
            return pids

    assert asyncio.run(main())


def test_a_synchronous_client_serves_as_well(cluster: Any) -> None:
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        workers = DaskWorkers(client)
        assert workers.slots == 2
        trials = anyio.run(lambda: trials_of(workers, pid, 2), backend="trio")
        workers.close()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_a_trial_takes_resources(cluster: Any) -> None:
    async def main(resources: dict[str, float] | None) -> int:
        async with (
            distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client,
            DaskWorkers(client, resources=resources) as workers,
        ):
            return len({trial.value for trial in await trials_of(workers, pid, 4)})

    assert asyncio.run(main({"GPU": 1})) == 1
    assert asyncio.run(main(None)) == 2


def test_a_client_that_is_closed_is_a_wrong_use(cluster: Any) -> None:
    async def main() -> None:
        client = await distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False)
        await client.close()
        await trials_of(DaskWorkers(client, slots=1), pid, 1)

    with pytest.raises(UsageError, match="the Dask client is 'closed'"):
        asyncio.run(main())


def test_a_scheduler_that_dies_ends_the_run_and_the_next_run_has_a_new_one() -> None:
    study = optuna.create_study(sampler=sampler())

    def objective(trial: Any) -> float:
        if trial.number == 2:
            worker = os.getppid()
            scheduler = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(scheduler, signal.SIGKILL)
        time.sleep(60 if trial.number else 0)
        return 1.0

    async def main() -> None:
        async with DaskWorkers(slots=2) as workers:
            with pytest.raises(WorkerError, match="the Dask scheduler at tcp://"):
                await optimize_async(study, objective, n_trials=8, search_space=SPACE, workers=workers)
            again = await trials_of(workers, lambda trial: 1.0, 1)
            assert again[0].state is TrialState.COMPLETE

    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began < 50
    states = [trial.state for trial in study.trials]
    assert states[0] is TrialState.COMPLETE
    assert set(states[1:]) == {TrialState.FAIL}


SCRIPT = """
import sys, time, anyio, distributed, os, optuna
from optuna_llm import DaskWorkers, FunctionClient, LLMGuidedSampler, optimize_async
from optuna.distributions import FloatDistribution

folder, address = sys.argv[1:]

def objective(trial):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(60)

client = distributed.Client(address) if address else None
sampler = LLMGuidedSampler(FunctionClient(lambda request: {"rationale": "", "x": 0.5}), strategy="plain")
study = optuna.create_study(sampler=sampler)
space = {"x": FloatDistribution(0.0, 1.0)}
workers = DaskWorkers(client, slots=2)
anyio.run(lambda: optimize_async(study, objective, n_trials=2, search_space=space, workers=workers))
"""


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False])
def test_a_run_that_is_killed_leaves_no_process(own: bool, cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(folder), "" if own else cluster.scheduler_address]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        while len(list(folder.iterdir())) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert ended({int(path.name) for path in folder.iterdir()}, 5.0)


@pytest.mark.slow
def test_a_trial_that_loses_every_worker_has_failed_and_the_run_goes_on() -> None:
    def objective(trial: Any) -> float:
        if trial.number == 1:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return 1.0

    async def main() -> list[Any]:
        async with DaskWorkers(slots=2) as workers:
            return await trials_of(workers, objective, 3, n_workers=1)

    trials = anyio.run(main)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert "each worker of the cluster that ran the objective was lost" in trials[1].user_attrs["failure"]["message"]


@pytest.mark.slow
def test_an_adaptive_cluster_grows_with_the_trials_that_wait(tmp_path: Path) -> None:
    async def main() -> int:
        async with (
            distributed.LocalCluster(
                n_workers=0, threads_per_worker=1, asynchronous=True, local_directory=str(tmp_path), **LOCAL
            ) as adaptive,
            distributed.Client(adaptive, asynchronous=True, set_as_default=False) as client,
        ):
            adaptive.adapt(minimum=0, maximum=2, interval="100 ms", target_duration="100 ms")
            async with DaskWorkers(client, slots=2) as workers:
                return len({trial.value for trial in await trials_of(workers, pid, 30)})

    assert asyncio.run(main()) >= 2
