"""What objectives do to their process: it reaches neither the next trial nor the process of the run."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from support import SPACE, sampler

from optuna_llm import ProcessWorkers, UsageError, optimize_async


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessWorkers]:
    one = ProcessWorkers(1)
    yield one
    one.close()


def run(workers: ProcessWorkers, objective: Callable[[Any], Any], n_trials: int = 1, **o: Any) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=sampler())
    anyio.run(lambda: optimize_async(study, objective, n_trials=n_trials, search_space=SPACE, workers=workers, **o))
    return study.trials


def failure(trial: FrozenTrial) -> str:
    said = trial.user_attrs["failure"]
    return f"{said['type']}: {said['message']}"


def close_output(trial: Any) -> float:
    sys.stdout.write("written before")
    os.close(1)
    return 1.0


def close_errors(trial: Any) -> float:
    os.close(2)
    return 1.0


def close_stream(trial: Any) -> float:
    sys.stdout.close()
    return 1.0


def replace_stream(trial: Any) -> float:
    sys.stdout = sys.stderr = io.StringIO()
    return 1.0


def lose_stream(trial: Any) -> float:
    sys.stdout = sys.stderr = None
    return 1.0


def close_both(trial: Any) -> float:
    os.closerange(0, 3)
    return 1.0


def print_binary(trial: Any) -> float:
    os.write(1, bytes(range(256)) * 1000)
    return 1.0


@pytest.mark.parametrize(
    "objective", [close_output, close_errors, close_stream, replace_stream, lose_stream, close_both, print_binary]
)
def test_what_an_objective_does_to_its_output_ends_with_the_trial(
    objective: Callable[[Any], float], capsys: pytest.CaptureFixture[str]
) -> None:
    def both(trial: Any) -> float:
        if trial.number == 0:
            return objective(trial)
        sys.stdout.write("näxt\n")
        sys.stderr.write("an error\n")
        return 1.0

    workers = ProcessWorkers(1)
    trials = run(workers, both, n_trials=2)
    workers.close()
    assert [trial.value for trial in trials] == [1.0, 1.0]
    printed = capsys.readouterr().err
    assert "näxt" in printed
    assert "an error" in printed
    assert objective is not close_output or "written before" in printed


def test_what_was_printed_before_a_crash_is_not_lost(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        sys.stdout.write("epoch 3\n")
        os.kill(os.getpid(), signal.SIGSEGV)
        return 1.0

    assert "it printed last: epoch 3" in failure(run(shared, objective, catch=Exception)[0])


def test_without_a_standard_error_nothing_waits(shared: ProcessWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    def objective(trial: Any) -> float:
        os.write(1, b"x" * 1_000_000)
        return 1.0

    assert run(shared, objective)[0].value == 1.0


def test_each_trial_begins_in_the_folder_of_the_run(
    shared: ProcessWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def objective(trial: Any) -> float:
        found = Path.cwd() == tmp_path
        os.chdir("elsewhere")
        return float(found)

    assert [trial.value for trial in run(shared, objective, n_trials=3)] == [1.0, 1.0, 1.0]


def ignore_signals(trial: Any) -> float:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGIO, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    while trial.number == 0:
        pass
    return 1.0


def block_signals(trial: Any) -> float:
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    while trial.number == 0:
        time.sleep(60)
    return 1.0


def start_a_daemon(trial: Any) -> float:
    """Leave a process in a session of its own, which has all files of this one but no part in its connection."""
    if trial.number == 0:
        subprocess.Popen(["sleep", "20"], start_new_session=True, close_fds=False)
        while True:
            time.sleep(60)
    return 1.0


@pytest.mark.parametrize("objective", [ignore_signals, block_signals, start_a_daemon])
def test_a_timeout_ends_whatever_resists(shared: ProcessWorkers, objective: Callable[[Any], float]) -> None:
    trials = run(shared, objective, n_trials=2, trial_timeout=1)
    assert failure(trials[0]).startswith("TimeoutError")
    assert trials[1].value == 1.0


def fork_and_crash(trial: Any) -> float:
    if trial.number == 0:
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,), daemon=True).start()
        os.kill(os.getpid(), signal.SIGSEGV)
    return 1.0


def system_and_exit(trial: Any) -> float:
    if trial.number == 0:
        os.system("sleep 30 &")
        os._exit(3)
    return 1.0


def fork_by_hand(trial: Any) -> float:
    if trial.number == 0:
        if os.fork() == 0:
            time.sleep(30)
        os.abort()
    return 1.0


@pytest.mark.parametrize("objective", [fork_and_crash, system_and_exit, fork_by_hand])
def test_the_end_of_a_process_is_seen_whatever_it_leaves(
    shared: ProcessWorkers, objective: Callable[[Any], float]
) -> None:
    trials = run(shared, objective, n_trials=2, catch=Exception, trial_timeout=20)
    assert failure(trials[0]).startswith("ProcessDiedError")
    assert trials[1].value == 1.0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_objective_may_use_multiprocessing(shared: ProcessWorkers, method: str) -> None:
    def objective(trial: Any) -> float:
        with multiprocessing.get_context(method).Pool(2) as pool:
            return float(sum(pool.map(abs, [-1, -2, -3])))

    assert [trial.value for trial in run(shared, objective, n_trials=2)] == [6.0, 6.0]


def test_a_fork_that_leaves_the_objective_is_not_taken_for_it(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        child = os.fork()
        if child == 0:
            return 7.0
        os.waitpid(child, 0)
        return 1.0

    assert [trial.value for trial in run(shared, objective, n_trials=3)] == [1.0, 1.0, 1.0]


def test_a_fork_of_the_objective_has_no_trial(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        if (child := os.fork()) == 0:
            try:
                trial.report(1.0, 0)
            except UsageError:
                os._exit(5)
            os._exit(0)
        return float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    (trial,) = run(shared, objective)
    assert (trial.value, trial.intermediate_values) == (5.0, {})


def test_threads_of_an_objective_may_all_use_the_trial(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        def report(start: int) -> None:
            for step in range(start, start + 50):
                trial.report(float(step), step)
                assert trial.number == 0
                trial.set_user_attr(str(step), step)

        threads = [threading.Thread(target=report, args=(start,)) for start in (0, 100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return float(len(trial.user_attrs))

    (trial,) = run(shared, objective)
    assert trial.intermediate_values == {step: float(step) for s in (0, 100, 200, 300) for step in range(s, s + 50)}
    assert trial.value is not None
    assert trial.value >= 200


def test_a_thread_that_outlives_its_trial_cannot_write_into_the_next(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        module: Any = sys.modules["os"]  # the one place that both trials of the process know
        if trial.number == 0:
            module.go_on, module.ended = threading.Event(), []

            def late() -> None:
                module.go_on.wait()
                try:
                    trial.set_user_attr("late", True)
                except Exception as error:
                    module.ended.append(type(error).__name__)

            module.late = threading.Thread(target=late)
            module.late.start()
            return 0.0
        module.go_on.set()
        module.late.join()
        return float(module.ended == ["UsageError"])

    trials = run(shared, objective, n_trials=2)
    assert [trial.value for trial in trials] == [0.0, 1.0]
    assert not any("late" in trial.user_attrs for trial in trials)


def test_large_values_travel(shared: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        trial.set_user_attr("large", "x" * 20_000_000)
        return float(len(trial.user_attrs["large"]))

    assert run(shared, objective)[0].value == 20_000_000


class NotThere:
    """Can be loaded in a worker process only, like a class of a module that is not installed here."""

    def __init__(self, pid: int) -> None:
        if pid == os.getpid():
            raise ModuleNotFoundError("no module of this kind here")
        self.pid = pid

    def __reduce__(self) -> Any:
        return NotThere, (os.getppid(),)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (lambda: NotThere(0), ModuleNotFoundError),
        (lambda: threading.Lock(), TypeError),
        (threading.local, TypeError),
    ],
)
def test_a_value_that_cannot_be_stored_is_an_error_where_it_was_given(
    shared: ProcessWorkers, value: Callable[[], Any], error: type[Exception]
) -> None:
    def objective(trial: Any) -> float:
        try:
            trial.set_user_attr("thing", value())
        except error:
            return 1.0
        return 0.0

    assert run(shared, objective)[0].value == 1.0


class Broken:
    """An objective that no process can load."""

    def __call__(self, trial: Any) -> float:
        return 5.0

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_an_objective_that_cannot_be_loaded_is_never_replaced_by_the_one_before(shared: ProcessWorkers) -> None:
    assert run(shared, lambda trial: 1.0)[0].value == 1.0
    trials = run(shared, Broken(), n_trials=3, catch=ValueError)
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3
    assert [failure(trial)[:10] for trial in trials] == ["ValueError"] * 3
    assert run(shared, lambda trial: 2.0)[0].value == 2.0


@pytest.mark.parametrize("kind", [int, float, "numpy"])
def test_numbers_of_any_kind_can_be_reported(shared: ProcessWorkers, kind: Any) -> None:
    def objective(trial: Any) -> float:
        import numpy as np

        trial.report(np.float32(2) if kind == "numpy" else kind(2), 0)
        return float(trial.cancelled.is_set())

    (trial,) = run(shared, objective)
    assert (trial.value, trial.intermediate_values) == (0.0, {0: 2.0})


def test_a_word_is_no_intermediate_value(shared: ProcessWorkers) -> None:
    with pytest.raises(TypeError, match="supposed to be a float"):
        run(shared, lambda trial: trial.report("high", 0))
