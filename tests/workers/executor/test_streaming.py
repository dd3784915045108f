"""What travels while an objective runs on an executor: reports, the pruner's answers, and that it is to end."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import anyio
import optuna
import pytest
from optuna.pruners import BasePruner, ThresholdPruner
from optuna.trial import TrialState
from support import SPACE, sampler

from optuna_llm import ExecutorWorkers, UsageError, WorkerError, optimize_async
from optuna_llm.engine.protocols import capabilities_of
from optuna_llm.engine.records import Call
from optuna_llm.engine.study.patience import Patience
from optuna_llm.engine.threads import JobThread
from optuna_llm.workers.executor import listener, mailbox, recorded_calls
from optuna_llm.workers.executor.assignment import TrialRecord
from optuna_llm.workers.executor.belonging import INTERRUPT, interruptible

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has its own folder for them, and leaves nothing there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    deadline = time.monotonic() + 10
    while list(folder.glob("optuna-llm-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(folder.glob("optuna-llm-*")) == []


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as two:
        yield two


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as one:
        one.submit(optuna.create_study).result()  # its process has started
        yield one


def run(workers: Any, objective: Any, n_trials: int = 1, pruner: BasePruner | None = None, **o: Any) -> optuna.Study:
    study = optuna.create_study(sampler=sampler(), pruner=pruner)
    options = {"n_trials": n_trials, "search_space": SPACE, "workers": workers, **o}
    anyio.run(lambda: optimize_async(study, objective, **options))
    return study


class ByName:
    """An objective that is sent as a name, so that a thread of an executor works on the test's own objects."""

    objectives: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return ByName, (self._name,)

    def __call__(self, trial: Any) -> Any:
        return self.objectives[self._name](trial)


def shared(objective: Callable[[Any], Any]) -> ByName:
    ByName.objectives[objective.__qualname__] = objective
    return ByName(objective.__qualname__)


class Changed(Executor):
    """An executor whose calls get a changed assignment, and are seen as they return."""

    def __init__(self, executor: Executor, change: Callable[[Any], Any]) -> None:
        self._executor = executor
        self._change = change
        self.records: list[TrialRecord] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        objective, assignment = args
        changed = pickle.dumps(self._change(pickle.loads(assignment)))
        future: Future[Any] = self._executor.submit(fn, objective, changed)
        future.add_done_callback(lambda done: self.records.append(pickle.loads(done.result())))
        return future


# -- reports and pruning


def test_reports_and_attributes_are_in_the_study_while_the_objective_runs(threads: ThreadPoolExecutor) -> None:
    study = optuna.create_study(sampler=sampler())

    def objective(trial: Any) -> float:
        trial.report(2.0, 0)
        trial.set_user_attr("seen", True)
        deadline = time.monotonic() + 30
        while "seen" not in study.trials[0].user_attrs:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return float(study.trials[0].intermediate_values[0])

    workers = ExecutorWorkers(threads)
    anyio.run(lambda: optimize_async(study, shared(objective), n_trials=1, search_space=SPACE, workers=workers))
    assert study.trials[0].value == 2.0


def test_a_trial_that_dies_keeps_what_it_had_reported() -> None:
    def objective(trial: Any) -> float:
        trial.report(2.0, 0)
        trial.set_user_attr("seen", True)
        os._exit(1)

    study = optuna.create_study(sampler=sampler())
    with ProcessPoolExecutor(1, mp_context=SPAWN) as broken:
        options: Any = {"n_trials": 1, "search_space": SPACE, "workers": ExecutorWorkers(broken)}
        with pytest.raises(WorkerError):
            anyio.run(lambda: optimize_async(study, objective, **options))
    assert study.trials[0].state is TrialState.FAIL
    assert (study.trials[0].intermediate_values, study.trials[0].user_attrs["seen"]) == ({0: 2.0}, True)


def test_what_the_pruner_raises_is_raised_in_the_objective(threads: ThreadPoolExecutor) -> None:
    class Broken(BasePruner):
        def prune(self, study: Any, trial: Any) -> bool:
            raise ZeroDivisionError("of the pruner")

    def objective(trial: Any) -> float:
        try:
            trial.should_prune()
        except ZeroDivisionError as error:
            return float(str(error) == "of the pruner")
        return 0.0

    assert run(ExecutorWorkers(threads), objective, pruner=Broken()).trials[0].value == 1.0


@pytest.mark.parametrize("pruner", [ThresholdPruner(upper=9.0), None])
def test_what_a_report_raises_fails_the_trial(threads: ThreadPoolExecutor, pruner: BasePruner | None) -> None:
    def objective(trial: Any) -> float:
        trial.report(1.0, -1)
        trial.should_prune()
        trial.report(1.0, 1)
        return 1.0

    study = run(ExecutorWorkers(threads), objective, pruner=pruner or optuna.pruners.NopPruner(), catch=ValueError)
    assert "step" in study.trials[0].user_attrs["failure"]["message"]
    assert study.trials[0].intermediate_values == {}


def test_without_a_pruner_nobody_is_asked(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(mailbox.Channel, "next_message", lambda self, seconds: asked.append(seconds))

    def objective(trial: Any) -> float:
        return float(trial.should_prune())

    assert run(ExecutorWorkers(threads), objective, pruner=optuna.pruners.NopPruner()).trials[0].value == 0.0
    assert asked == []
    run(ExecutorWorkers(threads), objective, pruner=ThresholdPruner(upper=9.0))
    assert asked == [recorded_calls.ANSWER_SECONDS]


def prunable(trial: Any) -> float:
    trial.report(float(trial.number), 0)
    trial.set_user_attr("seen", True)
    return float(trial.should_prune())


def test_where_the_folder_is_not_seen_all_comes_with_the_result(
    threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    blind = Changed(threads, lambda given: replace(given, calls="/nowhere/calls", answers="/nowhere/answers"))
    workers = ExecutorWorkers(blind, slots=1)
    assert capabilities_of(workers).streams
    study = run(workers, prunable, 3, ThresholdPruner(upper=-1.0))
    assert [(trial.value, trial.intermediate_values) for trial in study.trials] == [
        (0.0, {0: float(number)}) for number in range(3)
    ]
    assert not capabilities_of(workers).streams
    assert len([record for record in caplog.records if "folder=" in record.getMessage()]) == 1


def test_where_nobody_answers_the_objective_goes_on(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorded_calls, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(listener.Listener, "listen", lambda self: None)
    study = run(ExecutorWorkers(threads), prunable, 1, ThresholdPruner(upper=-1.0))
    assert (study.trials[0].value, study.trials[0].intermediate_values) == (0.0, {0: 0.0})
    assert study.trials[0].user_attrs["seen"]
    assert len([record for record in caplog.records if "folder=" in record.getMessage()]) == 1


def test_the_folder_is_the_users_and_must_be_one_to_write_in(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    def objective(trial: Any) -> float:
        return float(len(list(tmp_path.glob("optuna-llm-*/calls"))))

    assert run(ExecutorWorkers(threads, folder=tmp_path), shared(objective)).trials[0].value == 1.0
    assert list(tmp_path.glob("optuna-llm-*")) == []
    with pytest.raises(UsageError, match=r"folder must be .*nowhere"):
        run(ExecutorWorkers(threads, folder="/nowhere"), objective)


def test_without_any_folder_to_write_in_all_comes_with_the_result(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    workers = ExecutorWorkers(threads)
    study = run(workers, prunable, 1, ThresholdPruner(upper=-1.0))
    assert (study.trials[0].value, study.trials[0].intermediate_values) == (0.0, {0: 0.0})
    assert not capabilities_of(workers).streams


class SlowToLoad:
    """An objective whose loading takes time, as that of a large library does; its value is when it was loaded."""

    def __init__(self) -> None:
        self.loaded = time.monotonic()

    def __reduce__(self) -> Any:
        return SlowToLoad, ()

    def __call__(self, trial: Any) -> float:
        return self.loaded


@pytest.mark.parametrize(("shares", "before"), [(True, 0), (False, 1)])
def test_a_timeout_counts_from_when_the_objective_begins(
    threads: ThreadPoolExecutor, tmp_path: Path, shares: bool, before: int
) -> None:
    began: list[float] = []

    async def main() -> float | None:
        lane = JobThread("lane")
        call = Call(
            objective=SlowToLoad(),
            trial=optuna.create_study().ask(),
            lane=lane,
            patience=Patience(),
            started=lambda: began.append(time.monotonic()),
        )
        outcome = await ExecutorWorkers(threads, folder=tmp_path if shares else None).run(call)
        lane.close()
        return outcome.value

    loaded = anyio.run(main)
    assert loaded is not None
    assert len(began) == before + 1
    assert loaded < began[-1]


# -- the end


def test_after_a_timeout_an_objective_that_asks_is_told_to_end(threads: ThreadPoolExecutor) -> None:
    ended = threading.Event()

    def objective(trial: Any) -> float:
        while not trial.should_prune():
            time.sleep(0.01)
        trial.report(1.0, 0)
        ended.set()
        return 1.0

    study = run(ExecutorWorkers(threads), shared(objective), pruner=ThresholdPruner(upper=9.0), trial_timeout=0.2)
    assert ended.wait(30)
    assert study.trials[0].user_attrs["failure"]["type"] == "TimeoutError"
    assert study.trials[0].intermediate_values == {}


def test_after_a_timeout_python_code_in_a_process_of_a_pool_ends(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    def objective(trial: Any) -> float:
        if trial.number == 0:
            try:
                time.sleep(300)
            except KeyboardInterrupt:
                (tmp_path / "interrupted").touch()
                raise
        return 1.0

    run(ExecutorWorkers(pool), lambda trial: 1.0)  # its process has imported all that it needs
    study = run(ExecutorWorkers(pool), objective, 2, trial_timeout=1)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert (tmp_path / "interrupted").exists()


def test_a_call_that_waited_for_longer_than_its_time_is_not_evaluated() -> None:
    calls: list[Any] = []
    ran = threading.Event()

    class Queue(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            calls.append((fn, args, Future()))
            return calls[-1][2]  # type: ignore[no-any-return]

    workers = ExecutorWorkers(Queue(), slots=1)
    run(workers, shared(lambda trial: ran.set()), trial_timeout=0.1)
    fn, args, future = calls[0]
    answers = Path(pickle.loads(args[1]).answers)
    deadline = time.monotonic() + 30
    while answers.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    record: TrialRecord = pickle.loads(fn(*args))
    future.set_result(b"")
    assert not ran.is_set()
    assert pickle.loads(record.done.outcome).failure.type == "TimeoutError"


def test_only_a_trial_that_is_over_is_interrupted() -> None:
    over = False
    with interruptible(lambda: over) as can:
        assert can
        os.kill(os.getpid(), INTERRUPT)
        over = True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), INTERRUPT)
    os.kill(os.getpid(), INTERRUPT)


def test_a_handler_of_somebody_else_stays() -> None:
    def handler(*_: object) -> None:
        raise AssertionError("never sent")

    before = signal.signal(INTERRUPT, handler)
    try:
        with interruptible(lambda: True) as can:
            assert (can, signal.getsignal(INTERRUPT)) == (False, handler)
    finally:
        signal.signal(INTERRUPT, before)
