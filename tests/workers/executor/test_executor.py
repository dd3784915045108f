"""Plain objectives on executors of the user's: what travels, what can be suggested, and what a broken one costs."""

import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, llm_sampler, sampler

from optuna_llm import ExecutorWorkers, LLMGuidedSampler, UsageError, WorkerError, optimize_async
from optuna_llm.workers.executor.assignment import Assignment
from optuna_llm.workers.executor.host import run_assignment

SPAWN = multiprocessing.get_context("spawn")
GIGABYTE = 2**30


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as one:
        yield one


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as two:
        yield two


def run(
    workers: ExecutorWorkers,
    objective: Callable[[Any], Any],
    n_trials: int = 1,
    study: optuna.Study | None = None,
    space: Any = SPACE,
    **options: Any,
) -> optuna.Study:
    study = study or optuna.create_study(sampler=sampler())
    anyio.run(
        lambda: optimize_async(study, objective, n_trials=n_trials, search_space=space, workers=workers, **options)
    )
    return study


def failure(study: optuna.Study) -> str:
    """Type and message of the first trial's failure."""
    said = study.trials[0].user_attrs["failure"]
    return f"{said['type']}: {said['message']}"


# -- other people's executors, each in a process of its own: they start threads and loops as they like


CONTRACT = """
import optuna
from optuna_llm import ExecutorWorkers
from optuna_llm.workers.contract import CHECKS

optuna.logging.set_verbosity(optuna.logging.ERROR)

def check(executor):
    for check in CHECKS:
        check(ExecutorWorkers(executor, slots=1))
    print("as it should be")

"""
OF_DASK = """
from distributed import Client, LocalCluster

options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
if __name__ == "__main__":
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        check(client.get_executor())
"""
OF_EXECUTORLIB = """
from executorlib import SingleNodeExecutor

if __name__ == "__main__":
    with SingleNodeExecutor(max_workers=1, block_allocation=True) as executor:
        check(executor)
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [OF_DASK, OF_EXECUTORLIB], ids=["dask", "executorlib"])
def test_contract(script: str, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(CONTRACT + script)
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    ran = subprocess.run([sys.executable, str(file)], **options)
    assert ran.stdout.endswith("as it should be\n"), ran.stderr[-3000:]


# -- slots


def test_slots_are_the_executors_own_unless_they_are_given(threads: ThreadPoolExecutor) -> None:
    assert ExecutorWorkers(threads).slots == 2
    assert ExecutorWorkers(threads, slots=5).slots == 5
    assert repr(ExecutorWorkers(threads)) == "ExecutorWorkers(ThreadPoolExecutor, slots=2)"


def test_an_executor_that_does_not_say_how_many_has_to_be_told() -> None:
    with pytest.raises(UsageError, match=r"Here does not say how many.*slots="):
        ExecutorWorkers(Here())
    with pytest.raises(UsageError, match="slots must be"):
        ExecutorWorkers(Here(), slots=0)
    with pytest.raises(UsageError, match=r"must be a concurrent\.futures\.Executor"):
        ExecutorWorkers(3)  # type: ignore[arg-type]


def test_slots_run_side_by_side(threads: ThreadPoolExecutor) -> None:
    meeting = Meeting()

    study = run(ExecutorWorkers(threads), meeting, n_trials=2)
    assert [trial.value for trial in study.trials] == [2.0, 2.0]


class Meeting:
    """An objective of which two calls must be there at once."""

    barrier = threading.Barrier(2, timeout=30)

    def __reduce__(self) -> Any:
        return Meeting, ()

    def __call__(self, trial: Any) -> float:
        self.barrier.wait()
        return float(self.barrier.parties)


# -- what travels


class Here(Executor):
    """Runs calls at once, and keeps what it was given."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.given: list[Any] = []
        self._fails = fails

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append((fn, args, kwargs))
        future: Future[Any] = Future()
        if self._fails is not None:
            future.set_exception(self._fails)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def everything(thing: Any) -> Iterator[Any]:
    """A record, and all that is in it."""
    yield thing
    parts = [getattr(thing, name) for name in getattr(thing, "__dataclass_fields__", ())]
    parts += [*thing.values()] if isinstance(thing, dict) else [*thing] if isinstance(thing, tuple | list) else []
    for part in parts:
        yield from everything(part)


def test_no_study_sampler_trial_or_key_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-not-for-any-worker-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    here, study = Here(), optuna.create_study(sampler=LLMGuidedSampler("openai/gpt-5-mini"))
    study.enqueue_trial({"lr": 1e-3, "momentum": 0.5, "layers": 3, "optimizer": "sgd"})
    run(ExecutorWorkers(here, slots=1), lambda trial: trial.params["layers"], study=study)
    ((function, arguments, named),) = here.given
    assert (function, named) == (run_assignment, {})
    assert function.__qualname__ == "run_assignment"
    assert not [argument for argument in arguments if type(argument) is not bytes or key.encode() in argument]
    parts = list(everything(pickle.loads(arguments[1])))
    assert Assignment in {type(part) for part in parts}
    assert not [part for part in parts if isinstance(part, optuna.Study | optuna.trial.BaseTrial)]
    assert not [part for part in parts if isinstance(part, optuna.samplers.BaseSampler | LLMGuidedSampler)]
    assert study.trials[0].value == 3.0


def test_an_objective_or_a_value_that_cannot_travel_says_so(pool: ProcessPoolExecutor) -> None:
    lock = threading.Lock()

    def guarded(trial: Any) -> float:
        with lock:
            return 1.0

    with pytest.raises(UsageError, match=r"guarded.*cannot be sent to another process.*lock"):
        run(ExecutorWorkers(pool), guarded)
    returned = run(ExecutorWorkers(pool), lambda trial: threading.Lock())
    assert failure(returned).startswith("ValueError: the objective returned <unlocked _thread.lock object")
    kept = run(ExecutorWorkers(pool), lambda trial: trial.set_user_attr("lock", threading.Lock()), catch=TypeError)
    assert failure(kept).startswith("TypeError: cannot pickle '_thread.lock' object")


def test_a_module_that_is_missing_there_fails_the_trial_with_its_name(pool: ProcessPoolExecutor) -> None:
    class Missing:
        def __reduce__(self) -> Any:
            return importlib.import_module, ("no_such_module",)

        def __call__(self, trial: Any) -> float:
            return 1.0

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        run(ExecutorWorkers(pool), Missing(), n_trials=3)


# -- what can be suggested


def test_a_conditional_objective_suggests_what_the_sampler_declares(pool: ProcessPoolExecutor) -> None:
    study = optuna.create_study(sampler=sampler(search_space=SPACE))
    run(ExecutorWorkers(pool), lambda trial: trial.suggest_float("momentum", 0.0, 1.0, step=0.1), 3, study, None)
    assert [trial.params for trial in study.trials] == [{"momentum": trial.value} for trial in study.trials]
    assert llm_sampler(study).search_space is not None


def test_an_enqueued_trial_keeps_its_values(pool: ProcessPoolExecutor) -> None:
    study = optuna.create_study(sampler=sampler(search_space=SPACE))
    study.enqueue_trial({"layers": 7})
    run(ExecutorWorkers(pool), lambda trial: trial.suggest_int("layers", 1, 9, step=2), 1, study, None)
    assert (study.trials[0].params, study.trials[0].value) == ({"layers": 7}, 7.0)


def test_what_has_one_value_needs_no_proposal(pool: ProcessPoolExecutor) -> None:
    def objective(trial: Any) -> float:
        assert trial.suggest_categorical("device", ["cpu"]) == "cpu"
        return float(trial.suggest_float("offset", 2.0, 2.0))

    assert run(ExecutorWorkers(pool), objective).trials[0].value == 2.0


def test_an_undeclared_name_says_to_declare_it_although_the_objective_catches_it(pool: ProcessPoolExecutor) -> None:
    def objective(trial: Any) -> float:
        try:
            return float(trial.suggest_float("x", 0.0, 1.0))
        except ValueError:
            return 0.0

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    with pytest.raises(UsageError, match=r"'x' is not among the proposed ones.*declare it in `search_space=`"):
        run(ExecutorWorkers(pool), objective, 5, study, None, catch=Exception)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_range_that_was_not_proposed_says_so(pool: ProcessPoolExecutor) -> None:
    study = optuna.create_study(sampler=sampler(search_space={"x": FloatDistribution(0.0, 1.0)}))
    with pytest.raises(UsageError, match=r"was proposed for the parameter 'x'.*declare that range"):
        run(ExecutorWorkers(pool), lambda trial: trial.suggest_float("x", 2.0, 3.0), 1, study, None)


# -- what goes wrong


def allocate(trial: Any) -> float:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 * GIGABYTE, hard))
    try:
        return float(len(bytearray(64 * GIGABYTE)))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def start_threads(trial: Any) -> float:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 * GIGABYTE, hard))
    stop = threading.Event()
    try:
        for _ in range(100_000):
            threading.Thread(target=stop.wait, daemon=True).start()
        return 1.0
    finally:
        stop.set()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(
    ("objective", "reason"),
    [(allocate, "MemoryError"), (start_threads, "RuntimeError: can't start new thread")],
)
def test_too_much_costs_one_trial(pool: ProcessPoolExecutor, objective: Callable[[Any], Any], reason: str) -> None:
    study = run(ExecutorWorkers(pool), objective, catch=Exception)
    assert failure(study).startswith(reason)
    assert run(ExecutorWorkers(pool), lambda trial: 1.0).trials[0].value == 1.0


def test_a_flood_of_output_costs_nothing(pool: ProcessPoolExecutor) -> None:
    def objective(trial: Any) -> float:
        for _ in range(32):
            os.write(1, b"x" * 65536)
        return 1.0

    assert run(ExecutorWorkers(pool), objective).trials[0].value == 1.0


@pytest.mark.parametrize(
    "end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGSEGV)], ids=["exit", "segv"]
)
def test_a_broken_pool_fails_what_is_in_flight_and_ends_the_run(end: Callable[[], None]) -> None:
    study = optuna.create_study(sampler=sampler())
    with (
        ProcessPoolExecutor(1, mp_context=SPAWN) as broken,
        pytest.raises(WorkerError, match=r"ExecutorWorkers\(ProcessPoolExecutor, slots=1\).*BrokenProcessPool"),
    ):
        run(ExecutorWorkers(broken), lambda trial: end(), 5, study, catch=Exception)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]
    assert "BrokenProcessPool" in failure(study)


def test_an_executor_that_was_shut_down_ends_the_run() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(WorkerError, match="cannot schedule new futures after shutdown"):
        run(ExecutorWorkers(pool), lambda trial: 1.0, 5, study)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_call_that_the_executor_lost_costs_one_trial() -> None:
    class KilledWorker(Exception):
        pass

    study = run(ExecutorWorkers(Here(KilledWorker("the node is gone")), slots=1), lambda trial: 1.0, 2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert failure(study) == "KilledWorker: the node is gone"


def test_a_call_that_somebody_else_cancelled_ends_the_run() -> None:
    class Cancels(Here):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(WorkerError, match="was given up"):
        run(ExecutorWorkers(Cancels(), slots=1), lambda trial: 1.0, 2)


def test_the_executor_is_not_shut_down(threads: ThreadPoolExecutor) -> None:
    workers = ExecutorWorkers(threads)
    run(workers, lambda trial: 1.0)
    workers.close()
    assert threads.submit(int, "3").result() == 3
    assert run(workers, lambda trial: 1.0).trials[0].value == 1.0


def test_a_slot_stays_taken_until_its_call_returns() -> None:
    asked: list[Future[Any]] = []

    class Slow(Here):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            asked.append(Future())
            return asked[-1]

    workers = ExecutorWorkers(Slow(), slots=1)
    study = run(workers, lambda trial: 1.0, trial_timeout=0.1)
    assert failure(study).startswith("TimeoutError")
    assert not asked[0].cancelled()
    assert "free=0" in repr(workers._pool.slots)
    asked[0].set_result(b"")
    assert "free=1" in repr(workers._pool.slots)
