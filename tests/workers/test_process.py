"""Plain objectives in processes: what a trial can do there, and that whatever goes wrong costs one trial."""

import logging
import os
import resource
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
from objectives import failure
from optuna.trial import FrozenTrial, TrialState
from support import SPACE, sampler

from optuna_llm import (
    BudgetExhaustedError,
    OptunaLLMError,
    ProcessWorkers,
    ProposalError,
    RunReport,
    ThreadWorkers,
    UsageError,
    optimize_async,
)
from optuna_llm.workers.process import environment
from optuna_llm.workers.worker_process import how_it_ended

GIGABYTE = 2**30


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessWorkers]:
    two = ProcessWorkers(2)
    yield two
    two.close()


def run(workers: Any, objective: Callable[[Any], Any], n_trials: int = 1, **options: Any) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=sampler(), pruner=optuna.pruners.ThresholdPruner(upper=2.5))
    anyio.run(
        lambda: optimize_async(study, objective, n_trials=n_trials, search_space=SPACE, workers=workers, **options)
    )
    return study.trials


class OddError(ConnectionError):
    """An exception that cannot be unpickled: its constructor wants more than its text."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def test_a_study_is_the_same_as_with_threads(workers: ProcessWorkers) -> None:
    offset = 3

    def objective(trial: Any) -> float:
        layers = trial.suggest_int("layers", 1, 9, step=2)
        trial.set_user_attr("twice", 2 * layers)
        for step in range(2):
            trial.report(float(trial.number + step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        if trial.number == 1:
            raise ConnectionError("the node is gone")
        assert trial.params["layers"] == layers == trial.user_attrs["twice"] / 2
        return float(layers + offset)

    def told(place: Any) -> list[Any]:
        return [
            (trial.state, trial.params, trial.value, trial.user_attrs.get("twice"), trial.intermediate_values)
            for trial in run(place, objective, n_trials=4, catch=ConnectionError)
        ]

    assert told(workers) == told(ThreadWorkers())
    assert [one[0] for one in told(workers)] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.PRUNED,
    ]


def test_a_process_serves_one_trial_after_the_other(workers: ProcessWorkers) -> None:
    trials = run(workers, lambda trial: os.getpid(), n_trials=3, n_workers=1)
    assert len({trial.value for trial in trials}) == 1
    assert trials[0].value != os.getpid()


def hang(trial: Any) -> float:
    while trial.number == 0:
        pass
    return 1.0


def leave(trial: Any) -> float:
    if trial.number == 0:
        os.write(1, b"no such device\n")
        os._exit(7)
    return 1.0


def crash(trial: Any) -> float:
    if trial.number == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    return 1.0


def allocate(trial: Any) -> float:
    if trial.number == 0:
        resource.setrlimit(resource.RLIMIT_AS, (4 * GIGABYTE, resource.RLIM_INFINITY))
        return float(len(bytearray(64 * GIGABYTE)))
    return 1.0


def start_threads(trial: Any) -> float:
    if trial.number == 0:
        resource.setrlimit(resource.RLIMIT_AS, (2 * GIGABYTE, resource.RLIM_INFINITY))
        stop = threading.Event()
        try:
            for _ in range(100_000):
                threading.Thread(target=stop.wait, daemon=True).start()
        finally:
            stop.set()
    return 1.0


def flood(trial: Any) -> float:
    while trial.number == 0:
        os.write(1, b"x" * 65536)
    return 1.0


def return_a_lock(trial: Any) -> Any:
    return threading.Lock() if trial.number == 0 else 1.0


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (hang, "TimeoutError: the objective ran longer than trial_timeout=2"),
        (leave, "ProcessDiedError: the worker process ended with exit code 7 while it ran the objective; it printed "),
        (crash, "ProcessDiedError: the worker process was ended by SIGSEGV while it ran the objective"),
        (allocate, "MemoryError"),
        (start_threads, "RuntimeError: can't start new thread"),
        pytest.param(
            flood, "TimeoutError: the objective ran longer than trial_timeout=2", marks=pytest.mark.slow, id="flood"
        ),
        (return_a_lock, "ValueError: the objective returned <unlocked _thread.lock object"),
    ],
)
def test_what_goes_wrong_costs_one_trial(
    workers: ProcessWorkers, objective: Callable[[Any], Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = run(workers, objective, n_trials=3, n_workers=2, trial_timeout=2, catch=Exception)
    assert failure(trials).startswith(reason)
    assert [trial.value for trial in trials[1:]] == [1.0, 1.0]


def test_what_a_dead_process_printed_last_is_in_the_failure(workers: ProcessWorkers) -> None:
    assert "it printed last: no such device" in failure(run(workers, leave, n_trials=2, catch=Exception))


def test_an_objective_that_cannot_be_sent_is_named(workers: ProcessWorkers) -> None:
    lock = threading.Lock()

    def guarded(trial: Any) -> float:
        with lock:
            return 1.0

    with pytest.raises(UsageError, match=r"guarded.*cannot be sent to another process.*lock"):
        run(workers, guarded)


def test_an_exception_is_caught_by_its_class_or_by_the_nearest_that_can_travel(workers: ProcessWorkers) -> None:
    class OwnError(Exception):
        pass

    def own(trial: Any) -> float:
        raise OwnError("as it is")

    def odd(trial: Any) -> float:
        raise OddError("the node is gone", 3)

    assert failure(run(workers, own, catch=OwnError)) == "OwnError: as it is"
    assert failure(run(workers, odd, catch=ConnectionError)) == "OddError: the node is gone"


def test_an_exception_that_is_not_caught_ends_the_run_as_itself(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        raise KeyError("seed")

    with pytest.raises(KeyError, match="seed"):
        run(workers, objective)


def test_stop_ends_the_run_and_the_direction_is_known(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        trial.study.stop()
        return float(trial.study.direction.value)

    trials = run(workers, objective, n_trials=9, n_workers=1)
    assert [trial.value for trial in trials] == [float(optuna.study.StudyDirection.MINIMIZE.value)]


def test_there_may_be_more_trials_at_once_than_slots(workers: ProcessWorkers) -> None:
    trials = run(workers, lambda trial: os.getpid(), n_trials=6, n_workers=4)
    assert len({trial.value for trial in trials}) <= 2


def test_each_slot_has_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-workers")
    cards = ProcessWorkers(environments=[{"CARD": "1"}, {"CARD": "2"}])
    try:
        trials = run(cards, lambda trial: float(os.environ["CARD"]), n_trials=4, n_workers=2)
        keys = run(cards, lambda trial: float("OPENAI_API_KEY" in os.environ), n_trials=1)
    finally:
        cards.close()
    assert {trial.value for trial in trials} == {1.0, 2.0}
    assert keys[0].value == 0.0


def test_numerical_libraries_share_the_cpus_unless_the_user_says_how() -> None:
    assert environment({}, {"PATH": "/bin"}, slots=10_000)["OMP_NUM_THREADS"] == "1"
    assert environment({}, {"OMP_NUM_THREADS": "3"}, slots=10_000)["OMP_NUM_THREADS"] == "3"
    assert environment({"OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "3"}, slots=1)["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MISTRAL_API_KEY", "AZURE_API_KEY", "REPLICATE_API_TOKEN"])
def test_keys_of_models_stay_here(name: str) -> None:
    assert name not in environment({}, {name: "secret"}, slots=1)
    assert environment({name: "mine"}, {name: "secret"}, slots=1)[name] == "mine"


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 1.5}, {"environments": []}, {"n": 3, "environments": [{}]}])
def test_slots_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ProcessWorkers(**options)


@pytest.mark.parametrize(
    ("code", "said"), [(3, "exit code 3"), (-9, "SIGKILL (out of memory"), (-11, "by SIGSEGV"), (-100, "by signal 100")]
)
def test_how_a_process_ended_is_said(code: int, said: str) -> None:
    assert said in how_it_ended(code)


def test_closing_ends_the_processes_and_the_next_run_starts_new_ones() -> None:
    one = ProcessWorkers(1)
    (before,) = run(one, lambda trial: os.getpid())
    one.close()
    assert before.value is not None
    with pytest.raises(ProcessLookupError):
        os.kill(int(before.value), 0)
    (after,) = run(one, lambda trial: os.getpid())
    one.close()
    assert after.state is TrialState.COMPLETE


ORPHANS = """
import os, sys, anyio, optuna
from optuna.distributions import FloatDistribution
from optuna_llm import FunctionClient, LLMGuidedSampler, ProcessWorkers, optimize_async

def objective(trial):
    with open(sys.argv[1] + str(trial.number), "w") as file:
        file.write(str(os.getpid()) + "\\n")
    while True:
        pass

sampler = LLMGuidedSampler(FunctionClient(lambda request: {"rationale": "", "x": 0.5}), strategy="plain")
study = optuna.create_study(sampler=sampler)
space, workers = {"x": FloatDistribution(0, 1)}, ProcessWorkers(2)
anyio.run(lambda: optimize_async(study, objective, n_trials=2, search_space=space, workers=workers, grace=1))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_when_the_run_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    command = [sys.executable, str(script), str(tmp_path / "pid")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        pids = [_text(tmp_path / f"pid{number}") for number in range(2)]
        running.send_signal(how)
        if how is signal.SIGTERM:
            running.send_signal(how)
        running.wait(60)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path(f"/proc/{pid.strip()}").exists() for pid in pids):
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid.strip()}").exists()]


def _text(path: Path) -> str:
    """The text of a file that another process is about to write."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.05)
    raise TimeoutError(path)


def test_a_run_that_is_cancelled_ends_its_processes(workers: ProcessWorkers) -> None:
    async def main(folder: str) -> RunReport | None:
        study = optuna.create_study(sampler=sampler())
        with anyio.move_on_after(1):
            return await optimize_async(study, hang, n_trials=1, search_space=SPACE, workers=workers)
        assert [trial.state for trial in study.trials] == [TrialState.FAIL]
        return None

    assert anyio.run(main, "") is None
    assert run(workers, lambda trial: 1.0)[0].value == 1.0


@pytest.mark.parametrize("asked", [ProposalError, BudgetExhaustedError, UsageError])
def test_errors_of_a_study_inside_the_objective_are_its_own_there_too(
    workers: ProcessWorkers, asked: type[OptunaLLMError]
) -> None:
    def objective(trial: Any) -> float:
        raise asked("of a study in here")

    with pytest.raises(asked, match="in here"):
        run(workers, objective, n_trials=4)
    assert len(run(workers, objective, n_trials=4, catch=asked)) == 4


def test_a_wrong_use_is_never_caught_there_either(workers: ProcessWorkers) -> None:
    async def objective(trial: Any) -> float:
        return 1.0

    with pytest.raises(UsageError, match="awaitable"):
        run(workers, lambda trial: objective(trial), n_trials=3, catch=Exception)


@pytest.mark.parametrize(("by", "code"), [("return", 0), ("exit", 7), ("error", 1)])
def test_what_an_objective_forks_there_never_goes_on_with_it(workers: ProcessWorkers, by: str, code: int) -> None:
    def objective(trial: Any) -> float:
        pid = os.fork()
        if pid == 0:
            if by == "exit":
                sys.exit(7)
            if by == "error":
                raise ValueError("no")
            return 1.0
        return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    assert [trial.value for trial in run(workers, objective, n_trials=3)] == [code] * 3


def test_constraints_are_set_there_too(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> tuple[float]:
        trial.set_constraint("memory", trial.params["momentum"] - 0.5)
        return (1.0,)

    for trial in run(workers, objective, n_trials=3):
        assert (trial.value, trial.constraints) == (1.0, {"memory": trial.params["momentum"] - 0.5})


def test_a_name_outside_the_space_ends_the_run_although_the_objective_catches_it(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        try:
            return float(trial.suggest_float("momentun", 0, 1))
        except ValueError:
            return 0.0

    with pytest.raises(UsageError, match="'momentun' is not in the search space"):
        run(workers, objective, n_trials=5)


def test_what_a_pruned_trial_was_raised_with_is_said(workers: ProcessWorkers) -> None:
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    def objective(trial: Any) -> float:
        raise optuna.TrialPruned("below the median")

    logger, listener = logging.getLogger("optuna_llm.engine"), Listener()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        run(workers, objective)
    finally:
        logger.removeHandler(listener)
        logger.setLevel(logging.NOTSET)
    assert "Trial 0 pruned. below the median" in said


def test_an_objective_for_threads_that_looks_whether_it_is_cancelled_runs_here_too(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        return -1.0 if trial.cancelled or trial.cancelled.wait(0) else 1.0

    assert [trial.value for trial in run(workers, objective)] == [1.0]


def test_a_crash_costs_its_trial_and_not_the_run_although_nothing_is_caught(workers: ProcessWorkers) -> None:
    trials = run(workers, crash, n_trials=3, n_workers=1)
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_an_exception_that_ends_the_run_says_where_in_the_worker_it_was_raised(workers: ProcessWorkers) -> None:
    def objective(trial: Any) -> float:
        raise KeyError("seed")

    with pytest.raises(KeyError) as raised:
        run(workers, objective)
    (note,) = raised.value.__notes__
    assert note.startswith("In the worker process:\n")
    # Some cloudpickles keep the file's name, so that the line of the source is shown.
    assert note.replace('    raise KeyError("seed")\n', "").endswith(", in objective\nKeyError: 'seed'\n")
