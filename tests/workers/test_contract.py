"""Each kind of workers does what the public contract says, and the contract notices one that does not."""

import concurrent.futures
import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import optuna
import pytest

from optuna_llm import (
    Call,
    CoroutineWorkers,
    DaskWorkers,
    ExecutorWorkers,
    Outcome,
    ProcessWorkers,
    ThreadWorkers,
    Workers,
)
from optuna_llm.workers.contract import CHECKS, Check, told


def process_pool(stack: ExitStack) -> Workers:
    """One process: a second one would start within the time of a trial."""
    context = multiprocessing.get_context("spawn")
    return warm(stack.enter_context(concurrent.futures.ProcessPoolExecutor(1, mp_context=context)))


def loky(stack: ExitStack) -> Workers:
    pool = importlib.import_module("loky").ProcessPoolExecutor(1)
    stack.callback(pool.shutdown, kill_workers=True)
    return warm(pool)


def warm(pool: Any) -> Workers:
    pool.submit(told, optuna.create_study()).result()  # its process has started, and has imported us
    return ExecutorWorkers(pool)


def processes(stack: ExitStack) -> Workers:
    return stack.enter_context(closing(ProcessWorkers(2)))


def dask(stack: ExitStack) -> Workers:
    return stack.enter_context(closing(DaskWorkers(slots=2)))


KINDS: dict[str, Callable[[ExitStack], Workers]] = {
    "coroutine": lambda stack: CoroutineWorkers(),
    "thread": lambda stack: stack.enter_context(closing(ThreadWorkers())),
    "process": processes,
    "thread pool": lambda stack: ExecutorWorkers(stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))),
    "process pool": process_pool,
    "loky": loky,
    "dask": dask,
}


@pytest.fixture(scope="module", params=KINDS)
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield KINDS[request.param](stack)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Check, workers: Workers) -> None:
    check(workers)


class Liars:
    """Threads whose outcomes are changed on their way."""

    slots = None
    capabilities = ThreadWorkers.capabilities

    def __init__(self, lie: Callable[[Outcome], Any]) -> None:
        self._honest = ThreadWorkers()
        self._lie = lie

    async def run(self, call: Call) -> Outcome:
        return self._lie(await self._honest.run(call))  # type: ignore[no-any-return]


def test_workers_that_break_the_contract_are_noticed() -> None:
    done = Liars(lambda outcome: Outcome(state=outcome.state, value=0.0 if outcome.value is not None else None))
    noticed = [check.__name__ for check in CHECKS if fails(check, done)]
    assert {"the_same_study", "trials_side_by_side", "several_runs", "an_error_that_is_not_caught"} <= set(noticed)


def fails(check: Check, workers: Workers) -> bool:
    try:
        check(workers)
    except Exception:
        return True
    return False
