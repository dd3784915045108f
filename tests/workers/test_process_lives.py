"""Processes of workers over runs, event loops, threads, forks and ends: none is lost, none is mixed up."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from processes import ends
from support import SPACE, sampler

from optuna_llm import ProcessWorkers, WorkerError, optimize_async
from optuna_llm.engine.records import Call
from optuna_llm.engine.study.patience import Patience
from optuna_llm.engine.threads import JobThread
from optuna_llm.workers import process as process_module


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessWorkers]:
    two = ProcessWorkers(2)
    yield two
    two.close()


def run(
    workers: ProcessWorkers, objective: Callable[[Any], Any], n_trials: int = 1, backend: str = "asyncio", **o: Any
) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=sampler())
    options = {"n_trials": n_trials, "search_space": SPACE, "workers": workers, **o}
    anyio.run(lambda: optimize_async(study, objective, **options), backend=backend)
    return study.trials


def pid(trial: Any) -> float:
    return float(os.getpid())


def test_from_trio_a_timeout_kills_as_well(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        while trial.number == 0:
            pass
        return 1.0

    trials = run(shared, objective, n_trials=3, backend="trio", trial_timeout=1)
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_runs_at_once_on_several_loops_each_have_their_objective(shared: ProcessWorkers) -> None:
    got: dict[int, list[float | None]] = {}

    def on_a_loop(number: int, backend: str) -> None:
        def objective(trial: Any) -> float:
            return float(number)

        got[number] = [trial.value for trial in run(shared, objective, n_trials=8, n_workers=3, backend=backend)]

    threads = [
        threading.Thread(target=on_a_loop, args=(number, backend))
        for number, backend in enumerate(["asyncio", "trio", "asyncio"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: [float(number)] * 8 for number in range(3)}


def test_processes_outlive_the_thread_of_their_run(shared: ProcessWorkers) -> None:
    first: list[FrozenTrial] = []
    thread = threading.Thread(target=lambda: first.extend(run(shared, pid, n_workers=1)))
    thread.start()
    thread.join()
    assert run(shared, pid, n_workers=1)[0].value == first[0].value


def test_each_run_sees_what_is_around_its_objective_now(shared: ProcessWorkers) -> None:
    around, listed = {"factor": 1.0}, [1.0]

    def objective(trial: Any) -> float:
        return around["factor"] + listed[-1]

    values = []
    for factor in (1.0, 2.0, 3.0):
        around["factor"] = factor
        listed.append(10 * factor)
        values.append(run(shared, objective)[0].value)
    assert values == [11.0, 22.0, 33.0]


def test_a_trial_in_a_process_that_is_ready_wakes_one_thread_once(
    shared: ProcessWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[str]:
        jobs: list[str] = []
        lane, study = JobThread("lane"), optuna.create_study()

        async def one() -> None:
            await shared.run(Call(objective=pid, trial=study.ask(), lane=lane, patience=Patience()))

        await one()
        submit = JobThread.submit

        def counted(thread: JobThread, job: Any, *args: Any, **options: Any) -> Any:
            jobs.append(job.__name__)
            return submit(thread, job, *args, **options)

        monkeypatch.setattr(JobThread, "submit", counted)
        await one()
        lane.close()
        return jobs

    assert anyio.run(main) == ["run"]


class SlowToLoad:
    """An objective whose loading takes time, as that of a large library does."""

    def __init__(self) -> None:
        self.loaded = time.monotonic()

    def __call__(self, trial: Any) -> float:
        return self.loaded

    def __reduce__(self) -> Any:
        return SlowToLoad, ()


def test_a_timeout_counts_from_when_the_objective_is_loaded(shared: ProcessWorkers) -> None:
    began: list[float] = []

    async def main() -> float | None:
        study = optuna.create_study()
        lane = JobThread("lane")
        call = Call(
            objective=SlowToLoad(),
            trial=study.ask(),
            lane=lane,
            patience=Patience(),
            started=lambda: began.append(time.monotonic()),
        )
        outcome = await shared.run(call)
        lane.close()
        return outcome.value

    loaded = anyio.run(main)
    assert loaded is not None
    assert loaded < began[0]


def test_modules_are_found_in_the_order_of_the_run(
    shared: ProcessWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "antigravity.py").write_text("VALUE = 7.0\n")  # the name of a module of Python's own
    monkeypatch.syspath_prepend(tmp_path)

    def objective(trial: Any) -> float:
        import antigravity

        return float(antigravity.VALUE)  # type: ignore[attr-defined]

    assert run(shared, objective)[0].value == 7.0


class ClosedByEachTrial(ProcessWorkers):
    """Somebody closes these workers whenever a trial has begun."""

    async def run(self, call: Call) -> Any:
        def started() -> None:
            self.close()
            call.started()

        return await super().run(replace(call, started=started))


def test_closing_during_a_run_ends_its_processes_after_their_trials() -> None:
    workers = ClosedByEachTrial(1)
    values = [trial.value for trial in run(workers, pid, n_trials=2)]
    assert len(set(values)) == 2
    assert repr(workers) == "ProcessWorkers(slots=1, idle=0)"
    assert all(ends(value) for value in values if value is not None)


def test_workers_that_nobody_holds_end() -> None:
    before = threading.active_count()
    workers = ProcessWorkers(1)
    number = run(workers, pid)[0].value
    del workers
    gc.collect()
    assert number is not None
    assert ends(number)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def counts() -> tuple[int, int, int]:
    """Files, threads and children of this process, zombies among them."""
    children = sum(
        len(Path(f"/proc/self/task/{task}/children").read_text().split()) for task in os.listdir("/proc/self/task")
    )
    return len(os.listdir("/proc/self/fd")), threading.active_count(), children


@pytest.mark.slow
def test_200_trials_with_kills_leave_nothing() -> None:
    def objective(trial: Any) -> float:
        if trial.number % 10 == 3:
            os._exit(1)
        if trial.number % 10 == 6:
            subprocess.Popen(["sleep", "60"])
            while True:
                pass
        return 1.0

    workers = ProcessWorkers(2)
    run(workers, lambda trial: 1.0, n_trials=2)
    workers.close()
    gc.collect()
    time.sleep(0.1)
    before = counts()
    trials = run(workers, objective, n_trials=200, trial_timeout=1, catch=Exception)
    workers.close()
    gc.collect()
    deadline = time.monotonic() + 10
    while counts() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert counts() <= before
    assert sum(trial.state is TrialState.FAIL for trial in trials) == 40


@pytest.mark.parametrize("program", ["/nowhere/python", "/", "\0"])
def test_a_process_that_cannot_be_started_ends_the_run_and_leaves_no_files(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ProcessWorkers(1), lambda trial: threading.Lock(), catch=Exception)  # what a first run opens for good
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(WorkerError, match="ProcessWorkers"):
        run(ProcessWorkers(1), pid)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("lacking", ["sched_getaffinity", "killpg"])
def test_what_a_mac_lacks_is_not_needed(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError("of a group with a zombie")

    if lacking == "killpg":
        monkeypatch.setattr(os, "killpg", refused)
    else:
        monkeypatch.delattr(os, lacking)
    assert process_module.available_cpus() >= 1
    workers = ProcessWorkers(1)
    number = run(workers, pid)[0].value
    workers.close()
    assert number is not None
    assert ends(number)


@pytest.mark.parametrize("busy", ["import time; time.sleep(60)", "while True: pass"])
def test_without_signals_from_pipes_a_thread_ends_the_process(busy: str) -> None:
    script = "import fcntl, sys; del fcntl.F_SETSIG\n"
    script += "from optuna_llm.workers.child import end_with\nend_with(int(sys.argv[1]))\n"
    there, here = os.pipe()
    command = [sys.executable, "-c", script + f"print('ready', flush=True)\n{busy}", str(there)]
    with subprocess.Popen(command, pass_fds=[there], stdout=subprocess.PIPE, start_new_session=True) as process:
        os.close(there)
        assert process.stdout is not None
        process.stdout.readline()
        os.close(here)
        assert process.wait(30) == -signal.SIGKILL
