"""`optimize` runs where nothing awaits: in scripts, in cells of notebooks, and inside of other loops."""

import asyncio
import contextvars
import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from blockbuster import BlockBuster
from objectives import plain_score, score
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import (
    AuthenticationError,
    Request,
    RunReport,
    UsageError,
    optimize,
    optimize_async,
)

MAIN = threading.main_thread().ident or 0
VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)


@pytest.fixture(autouse=True)
def may_block_its_own_loop(no_blocked_loop: BlockBuster) -> None:
    """A cell that does not await blocks the notebook's loop: that is what it is asked for."""
    no_blocked_loop.functions["threading.Lock.acquire"].can_block_in("engine/run/blocking.py", "_result")


def new_study(model: Any = None) -> optuna.Study:
    return optuna.create_study(sampler=sampler(SchemaModel() if model is None else model))


def complete(objective: Any = plain_score, **options: Any) -> int:
    return optimize(new_study(), objective, **{"n_trials": 3, "search_space": SPACE, **options}).n_complete


def with_variable(trial: optuna.Trial) -> float:
    assert VARIABLE.get() == 7
    return plain_score(trial)


@pytest.mark.parametrize("objective", [plain_score, score, with_variable])
def test_in_a_script(objective: Any) -> None:
    VARIABLE.set(7)
    assert complete(objective) == 3


@pytest.mark.parametrize("objective", [plain_score, score, with_variable])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_inside_of_a_loop(objective: Any, backend: str) -> None:
    async def cell() -> int:
        VARIABLE.set(7)
        return complete(objective)

    assert anyio.run(cell, backend=backend) == 3


def test_in_a_callback_of_a_loop() -> None:
    async def main() -> int:
        loop, found = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        loop.call_soon(lambda: found.set_result(complete()))
        return int(await found)

    assert asyncio.run(main()) == 3


def test_in_threads_of_a_loop_and_inside_of_an_objective() -> None:
    async def main() -> list[int]:
        inner = await optimize_async(new_study(), lambda trial: float(complete()), n_trials=1, search_space=SPACE)
        return [inner.n_complete, await asyncio.to_thread(complete), await anyio.to_thread.run_sync(complete)]

    assert anyio.run(main) == [1, 3, 3]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("model", "options", "error"),
    [
        (None, {"n_trials": -1}, UsageError),
        (Script(AuthenticationError("no key")), {}, AuthenticationError),
        (None, {"handle_signals": "yes"}, UsageError),
    ],
)
def test_what_a_run_raises_is_raised(model: Any, options: Any, error: type[Exception], inside: bool) -> None:
    def run() -> RunReport:
        return optimize(new_study(model), plain_score, **{"n_trials": 3, "search_space": SPACE, **options})

    async def cell() -> RunReport:
        return run()

    with pytest.raises(error):
        anyio.run(cell) if inside else run()


def test_it_takes_what_optimize_async_takes() -> None:
    mine, its = inspect.signature(optimize), inspect.signature(optimize_async)
    assert mine == its
    assert not inspect.iscoroutinefunction(optimize)
    assert optimize.__name__ == "optimize"
    assert "n_workers: how many trials run at once" in (optimize.__doc__ or "")


# -- interrupts


class SecondPress(logging.Handler):
    """Presses again as soon as the first press is said to be heard: two at once may arrive as one."""

    def emit(self, record: logging.LogRecord) -> None:
        if "no more trials" in record.getMessage():
            signal.pthread_kill(MAIN, signal.SIGINT)


@pytest.fixture
def second_press(times: int) -> Iterator[None]:
    logger, handler = logging.getLogger("optuna_llm.engine"), SecondPress()
    if times > 1:
        logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def stop_button(times: int) -> Callable[[optuna.Trial], float]:
    """An objective whose fourth trial has the main thread interrupted, and which waits for the second press."""

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 3:
            signal.pthread_kill(MAIN, signal.SIGINT)
        if trial.number >= 2 and times > 1:
            trial.cancelled.wait(300)  # type: ignore[attr-defined]
        return 1.0

    return objective


def kernels_while_a_cell_awaits(loop: asyncio.AbstractEventLoop, cell: "asyncio.Task[Any]") -> Any:
    """As ipykernel 6 and 7 set it around the task of a cell that awaits: it cancels the task."""

    def _cancel_on_sigint() -> Any:
        def handle_sigint(*_: Any) -> None:
            loop.call_soon_threadsafe(cell.cancel)

        return handle_sigint

    handler = _cancel_on_sigint()
    handler.__module__ = "ipykernel.ipkernel"
    handler.__qualname__ = "IPythonKernel._cancel_on_sigint.<locals>.handle_sigint"
    return handler


@contextmanager
def handler_set(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def states(study: optuna.Study) -> list[str]:
    return sorted(trial.state.name for trial in study.trials)


OPTIONS: dict[str, Any] = {"n_trials": 50, "n_workers": 2, "search_space": SPACE, "grace": 300}


@pytest.mark.usefixtures("second_press")
@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_the_stop_button_of_a_cell_that_blocks(times: int, raising: bool, caplog: pytest.LogCaptureFixture) -> None:
    def theirs(number: int, frame: Any) -> None:  # not among the defaults, and raises all the same
        raise KeyboardInterrupt

    async def cell() -> None:
        with handler_set(theirs if raising else signal.default_int_handler), pytest.raises(KeyboardInterrupt):
            optimize(study, stop_button(times), **OPTIONS)

    study = new_study()
    anyio.run(cell)
    if times == 1:
        assert set(states(study)) == {"COMPLETE"}
        assert 4 <= len(study.trials) < 50
    else:
        assert states(study).count("FAIL") == 2
        assert "RUNNING" not in states(study)
    assert "SIGINT: no more trials are asked for" in caplog.text


@pytest.mark.usefixtures("second_press")
@pytest.mark.parametrize("times", [1, 2])
def test_the_stop_button_of_a_cell_that_awaits(times: int, caplog: pytest.LogCaptureFixture) -> None:
    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            await optimize_async(study, stop_button(times), **OPTIONS)

    async def kernel() -> None:
        task = asyncio.create_task(cell())
        with handler_set(kernels_while_a_cell_awaits(asyncio.get_running_loop(), task)):
            await task

    study = new_study()
    asyncio.run(kernel())
    if times == 1:
        assert set(states(study)) == {"COMPLETE"}
        assert 4 <= len(study.trials) < 50
    else:
        assert states(study).count("FAIL") == 2
        assert "RUNNING" not in states(study)
    assert "SIGINT: no more trials are asked for" in caplog.text


def test_who_leaves_signals_alone_is_interrupted_at_once() -> None:
    def objective(trial: optuna.Trial) -> float:
        signal.pthread_kill(MAIN, signal.SIGINT)
        trial.cancelled.wait(300)  # type: ignore[attr-defined]
        return 1.0

    async def cell() -> None:
        with handler_set(signal.default_int_handler), pytest.raises(KeyboardInterrupt):
            optimize(study, objective, **OPTIONS, handle_signals=False)

    study = new_study()
    anyio.run(cell)
    assert set(states(study)) == {"FAIL"}


KERNEL = Path(__file__).parents[2] / "kernel.py"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ipykernel") is None, reason="needs ipykernel and jupyter_client, of the group `dev`")
@pytest.mark.parametrize("cell", ["await", "block"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_stop_button_in_a_real_kernel(cell: str, times: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(KERNEL.parent)])}
    command = [sys.executable, str(KERNEL), cell, str(times)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "no more trials are asked for" in done.stdout, done
    assert "error KeyboardInterrupt" in done.stdout
    assert f"left {['COMPLETE'] * 4 if times == 1 else ['COMPLETE', 'COMPLETE', 'FAIL', 'FAIL']}" in done.stdout


@pytest.mark.parametrize("space", [SPACE, None], ids=["declared", "discovered"])
def test_an_error_of_the_model_is_raised_without_the_frames_that_it_came_through(space: dict[str, Any] | None) -> None:
    def no_key(request: Request) -> str:
        raise AuthenticationError("no API key")

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("lr", 1e-5, 1e-1, log=True)

    study = optuna.create_study(sampler=sampler(no_key))
    with pytest.raises(AuthenticationError, match="no API key") as caught:
        optimize(study, objective, n_trials=2, search_space=space)
    assert [entry.name for entry in caught.traceback][1:] == ["optimize"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_jobs": 2}, "unexpected keyword argument 'n_jobs'; n_jobs: use n_workers"),
        ({"gc_after_trial": True}, "unexpected keyword argument 'gc_after_trial'; gc_after_trial: leave it out"),
        ({"n_worker": 2}, "unexpected keyword argument 'n_worker'; n_worker: did you mean n_workers?"),
        ({"zigzag": 2}, "unexpected keyword argument 'zigzag'"),
    ],
)
def test_a_wrong_keyword_is_told_of_the_function_that_was_called(options: dict[str, Any], words: str) -> None:
    study = new_study()
    with pytest.raises(TypeError) as blocking:
        optimize(study, plain_score, **options)
    with pytest.raises(TypeError) as awaited:
        anyio.run(lambda: optimize_async(study, plain_score, **options))
    for name, caught in (("optimize", blocking), ("optimize_async", awaited)):
        said = str(caught.value)
        assert said.startswith(f"{name}(): got an {words}")
        assert said.count(";") == words.count(";")
    assert study.trials == []


def test_a_missing_argument_too() -> None:
    with pytest.raises(TypeError, match=r"^optimize\(\): missing a required argument: 'objective'$"):
        optimize(new_study())  # type: ignore[call-arg]


def test_a_number_of_trials_in_its_place_as_optuna_takes_it_is_to_be_named() -> None:
    words = "too many positional arguments; give all but study and objective by name, as in n_trials=100"
    with pytest.raises(TypeError) as blocking:
        optimize(new_study(), plain_score, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError) as awaited:
        anyio.run(lambda: optimize_async(new_study(), plain_score, 3))  # type: ignore[call-arg]
    assert [str(blocking.value), str(awaited.value)] == [f"optimize(): {words}", f"optimize_async(): {words}"]


def test_the_signatures_are_there_for_readers() -> None:
    for function in (optimize, optimize_async):
        assert list(inspect.signature(function).parameters)[:3] == ["study", "objective", "n_trials"]
    assert inspect.iscoroutinefunction(optimize_async)
    assert not inspect.iscoroutinefunction(optimize)


def test_an_error_of_the_objective_keeps_its_frames() -> None:
    def objective(trial: optuna.Trial) -> float:
        raise UsageError("a name that nobody knows")

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="nobody knows") as caught:
        optimize(study, objective, n_trials=2, search_space=SPACE)
    assert "objective" in [entry.name for entry in caught.traceback]
