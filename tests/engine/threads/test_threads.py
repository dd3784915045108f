"""A job thread keeps order and carries everything back; awaiting works on both backends."""

import threading
from concurrent.futures import Future

import anyio
import pytest

from optuna_llm.engine.errors import OptunaLLMError
from optuna_llm.engine.threads import JobThread, wait_future

BACKENDS = ["asyncio", "trio"] if __import__("importlib.util").util.find_spec("trio") else ["asyncio"]


@pytest.fixture
def thread() -> JobThread:
    return JobThread("test")


def test_jobs_run_in_the_order_they_were_submitted(thread: JobThread) -> None:
    seen: list[int] = []
    futures = [thread.submit(seen.append, number) for number in range(100)]
    futures[-1].result(10)
    assert seen == list(range(100))


def test_jobs_run_on_one_daemon_thread(thread: JobThread) -> None:
    first, second = (thread.submit(threading.current_thread).result(10) for _ in range(2))
    assert first is second is not threading.current_thread()
    assert first.daemon


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_errors_are_carried_back_and_the_thread_goes_on(thread: JobThread, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        thread.submit(fail).result(10)
    assert thread.submit(lambda: 7).result(10) == 7


def test_closing_lets_queued_jobs_finish(thread: JobThread) -> None:
    gate = threading.Event()
    thread.submit(gate.wait, 10)
    last = thread.submit(lambda: "done")
    thread.close()
    gate.set()
    assert last.result(10) == "done"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_future_is_awaited_on_any_backend(thread: JobThread, backend: str) -> None:
    async def main() -> int:
        return await thread.run(lambda: 42)

    assert anyio.run(main, backend=backend) == 42


@pytest.mark.asyncio
async def test_cancelling_the_wait_cancels_a_queued_job(thread: JobThread) -> None:
    gate, ran = threading.Event(), threading.Event()
    thread.submit(gate.wait, 10)
    queued = thread.submit(ran.set)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait_future(queued)
    assert queued.cancelled()
    gate.set()
    await thread.run(lambda: None)
    assert not ran.is_set()


@pytest.mark.asyncio
async def test_a_shared_future_survives_one_waiter(thread: JobThread) -> None:
    gate = threading.Event()
    thread.submit(gate.wait, 10)
    shared = thread.submit(lambda: "kept")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait_future(shared, cancel=False)
    gate.set()
    assert await wait_future(shared) == "kept"


@pytest.mark.asyncio
async def test_a_future_given_up_by_its_owner_is_an_error_of_ours() -> None:
    abandoned: Future[None] = Future()
    abandoned.cancel()
    with pytest.raises(OptunaLLMError, match="given up"):
        await wait_future(abandoned)


def test_a_loop_that_is_gone_does_not_disturb_the_thread(thread: JobThread) -> None:
    gate = threading.Event()

    async def leave() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await wait_future(thread.submit(gate.wait, 10), cancel=False)

    anyio.run(leave)
    gate.set()
    assert thread.submit(lambda: "alive").result(10) == "alive"
