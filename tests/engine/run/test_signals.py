"""Ctrl-C and SIGTERM end a run in bounded time, with every trial told and the handlers as they were."""

import asyncio
import concurrent.futures
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from member_storage import opened
from support import SPACE, sampler

from optuna_llm import AsyncTrial, RunReport, UsageError, optimize_async
from optuna_llm.engine.run.signals import Signals, is_default

SCRIPT = Path(__file__).parents[2] / "interrupted.py"
HANGS = 300  # seconds; it only keeps a run that hangs from holding up all tests


def interrupted(folder: Path, kind: str, place: str, *signals: int, backend: str = "asyncio") -> tuple[int, list[str]]:
    """Exit code, and the states of all trials, of a program that got these signals once two trials ran.

    Its first line is read alone only if a signal must come before the second: a buffered reader might take both.
    """
    command = [sys.executable, str(SCRIPT), kind, place, str(folder), backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            first = process.stdout.readline() if signals else ""
            for count, number in enumerate(signals):
                process.send_signal(number)
                if count == 0:  # it says that it has heard the first: two at once may arrive as one
                    assert "no more trials" in process.stderr.readline()
            rest, _ = process.communicate(timeout=HANGS)
        finally:
            process.kill()
    ready, _, output = (first + rest).partition("\n")
    assert ready == "READY"
    return process.returncode, [word.strip("[]',") for word in output.split()]


@pytest.mark.parametrize("place", ["memory", "journal", "sqlite"])
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_running_trials_finish(
    tmp_path: Path, kind: str, place: str, number: int, code: int
) -> None:
    returned, states = interrupted(tmp_path, kind, place, number)
    assert returned in (code, 130)
    assert 5 <= len(states) < 50
    assert set(states) == {"COMPLETE"}


@pytest.mark.parametrize("place", ["memory", "journal", "sqlite"])
@pytest.mark.parametrize("kind", ["coroutine stubborn", "thread stubborn"])
@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT,) * 2, (signal.SIGTERM,) * 2])
def test_grace_or_a_second_signal_ends_what_does_not_finish(
    tmp_path: Path, kind: str, place: str, signals: tuple[int, ...]
) -> None:
    returned, states = interrupted(tmp_path, kind, place, *signals)
    assert returned in ((143,) if signal.SIGTERM in signals else (-signal.SIGINT, 130))
    assert "RUNNING" not in states
    assert states.count("FAIL") == 2
    if place != "memory":
        url = f"journal:{tmp_path / 'journal.log'}" if place == "journal" else f"sqlite:///{tmp_path / 'study.db'}"
        trials = optuna.load_study(study_name="s", storage=opened(url)).trials
        reasons = {trial.user_attrs["failure"]["type"] for trial in trials if trial.state.name == "FAIL"}
        assert reasons == {"Interrupted"}


@pytest.mark.parametrize("place", ["memory", "journal", "sqlite"])
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
@pytest.mark.parametrize(
    ("how", "codes"), [("exits", (7,)), ("interrupts", (-signal.SIGINT, 130)), ("cancelled", (0,))]
)
def test_whatever_ends_a_run_every_trial_is_told(
    tmp_path: Path, kind: str, place: str, how: str, codes: tuple[int, ...]
) -> None:
    returned, states = interrupted(tmp_path, f"{kind} {how}", place)
    assert returned in codes
    assert 5 <= len(states) < 50
    assert states.count("FAIL") == (2 if how == "cancelled" else 1)
    assert set(states) == {"COMPLETE", "FAIL"}


SERVED = """
import asyncio, signal, sys
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from support import SPACE, SchemaModel, sampler
from optuna_llm import optimize_async

storage = JournalStorage(JournalFileBackend(sys.argv[1]))
study = optuna.create_study(study_name="s", storage=storage, sampler=sampler(SchemaModel()))

async def objective(trial):
    if trial.number == 4:
        print("READY", flush=True)
    if trial.number >= 3:
        await asyncio.sleep(3600)
    return 1.0

async def serve():
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)  # a server shuts down in its own way
    before = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(optimize_async(study, objective, n_trials=50, n_workers=2, search_space=SPACE))
    await over.wait()
    assert signal.getsignal(signal.SIGTERM) is before
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print(sorted(trial.state.name for trial in study.trials))

asyncio.run(serve())
"""


def test_under_a_server_with_its_own_handlers_these_decide(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVED, str(tmp_path / "study.log")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=HANGS)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output == "['COMPLETE', 'COMPLETE', 'COMPLETE', 'FAIL', 'FAIL']\n"


def test_signals_are_handled_on_trio(tmp_path: Path) -> None:
    _, states = interrupted(tmp_path, "coroutine", "memory", signal.SIGINT, backend="trio")
    assert set(states) == {"COMPLETE"}


def test_a_trial_that_begins_after_the_last_grace_is_ended_too() -> None:
    """It was being stored when the second signal came."""
    seen: list[int] = []

    class Interrupting(optuna.storages.InMemoryStorage):
        def create_new_trial(self, *args: Any, **kwargs: Any) -> int:
            number = super().create_new_trial(*args, **kwargs)
            for _ in range(2):
                loops[0].call_soon_threadsafe(signal.raise_signal, signal.SIGTERM)
            asyncio.run_coroutine_threadsafe(turns(), loops[0]).result(HANGS)
            return number

    async def turns() -> None:
        """Until the run has taken in what came."""
        for _ in range(20):
            await asyncio.sleep(0)

    loops: list[asyncio.AbstractEventLoop] = []

    async def for_ever(trial: AsyncTrial) -> float:
        seen.append(trial.number)
        await anyio.sleep_forever()
        return 0.0

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        with anyio.fail_after(HANGS):
            await optimize_async(study, for_ever, n_trials=9, n_workers=1, search_space=SPACE, grace=3600)

    study = optuna.create_study(storage=Interrupting(), sampler=sampler())
    with pytest.raises(SystemExit):
        anyio.run(main)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]
    assert seen == [0]


def test_handlers_that_somebody_has_set_stay() -> None:
    def theirs(number: int, frame: Any) -> None:
        """A server's own."""

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        seen = []

        async def objective(trial: AsyncTrial) -> float:
            seen.append(signal.getsignal(signal.SIGTERM))
            return 1.0

        study = optuna.create_study(sampler=sampler())
        anyio.run(lambda: optimize_async(study, objective, n_trials=1, search_space=SPACE))
        assert seen == [theirs]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("wanted", [None, False])
def test_handlers_are_set_only_for_the_run_and_only_if_wanted(wanted: bool | None) -> None:
    seen = []

    async def objective(trial: AsyncTrial) -> float:
        seen.append(signal.getsignal(signal.SIGTERM))
        return 1.0

    study = optuna.create_study(sampler=sampler())
    anyio.run(lambda: optimize_async(study, objective, n_trials=1, search_space=SPACE, handle_signals=wanted))
    assert (seen == [signal.SIG_DFL]) is (wanted is False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_set_and_insisting_is_refused() -> None:
    outcomes: list[object] = []

    def work() -> None:
        study = optuna.create_study(sampler=sampler())
        for wanted in (None, True):
            try:
                run = functools.partial(optimize_async, study, len, n_trials=0, search_space=SPACE)
                outcomes.append(anyio.run(functools.partial(run, handle_signals=wanted)))
            except UsageError as error:
                outcomes.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(outcomes[0], RunReport)
    assert isinstance(outcomes[1], UsageError)
    assert "main thread" in str(outcomes[1])


def test_a_handler_that_is_replaced_meanwhile_is_left_alone() -> None:
    async def main() -> None:
        with Signals():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    try:
        anyio.run(main)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_the_runners_handlers_count_as_defaults() -> None:
    found = []

    async def look() -> None:
        found.append(is_default(signal.getsignal(signal.SIGINT)))

    anyio.run(look, backend="asyncio")
    anyio.run(look, backend="trio")
    assert found == [True, True]
    assert not is_default(signal.SIG_IGN)


FORK = multiprocessing.get_context("fork")


def exit_code_of_a_forked_child() -> int:
    """How a child ends that waits for ever, and is sent SIGTERM."""
    process = FORK.Process(target=signal.pause)
    process.start()
    try:
        process.terminate()
        process.join(HANGS)
        return process.exitcode or 0
    finally:
        process.kill()


def uses_a_pool() -> float:
    with FORK.Pool(2) as pool:  # it ends its workers with SIGTERM, and waits for them
        return float(sum(pool.map(abs, range(4))))


def uses_an_executor() -> float:
    with concurrent.futures.ProcessPoolExecutor(2, FORK) as pool:
        return float(sum(pool.map(abs, range(4))))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["thread", "coroutine"])
@pytest.mark.parametrize("use", [uses_a_pool, uses_an_executor])
def test_an_objective_may_use_a_pool_of_processes(use: Any, kind: str) -> None:
    async def objective(trial: AsyncTrial) -> float:
        return float(await anyio.to_thread.run_sync(use))

    study = optuna.create_study(sampler=sampler())
    chosen = objective if kind == "coroutine" else lambda trial: use()
    report = anyio.run(lambda: optimize_async(study, chosen, n_trials=2, search_space=SPACE))
    assert [trial.value for trial in study.trials] == [6.0, 6.0]
    assert report.stop_reason == "n_trials"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_forked_child_has_the_handlers_of_before(backend: str) -> None:
    codes = []

    async def objective(trial: AsyncTrial) -> float:
        codes.append(await anyio.to_thread.run_sync(exit_code_of_a_forked_child))
        return 1.0

    async def nested(trial: AsyncTrial) -> float:
        await optimize_async(optuna.create_study(sampler=sampler()), objective, n_trials=1, search_space=SPACE)
        return await objective(trial)

    for function in (objective, nested):
        study = optuna.create_study(sampler=sampler())
        run = functools.partial(optimize_async, study, function, n_trials=1, search_space=SPACE)
        anyio.run(run, backend=backend)
    assert codes == [-signal.SIGTERM] * 3
