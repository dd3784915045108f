import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future
from typing import NoReturn

import pytest

from optuna_llm.engine.errors import UsageError
from optuna_llm.samplers.client import llm_loop
from optuna_llm.samplers.client.llm_loop import LLMLoop, at_close, run_sync, submit


async def whoami() -> tuple[threading.Thread, asyncio.AbstractEventLoop]:
    return threading.current_thread(), asyncio.get_running_loop()


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_threads_share_one_daemon_thread_and_loop() -> None:
    gate = threading.Barrier(8)
    found: list[object] = []

    def ask() -> None:
        gate.wait(10)
        found.append(run_sync(whoami))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert run_sync(whoami)[0].daemon


def test_a_result_comes_back() -> None:
    async def answer() -> int:
        return 42

    assert run_sync(answer) == 42


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_an_exception_reaches_the_caller_and_leaves_the_loop_running(error: BaseException) -> None:
    async def fail() -> NoReturn:
        raise error

    before = run_sync(whoami)
    with pytest.raises(type(error)):
        run_sync(fail)
    assert run_sync(whoami) == before


def test_a_cancelled_future_is_done_only_after_its_task_ended() -> None:
    started, cleaning, may_end = threading.Event(), threading.Event(), threading.Event()

    async def slow() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.to_thread(may_end.wait, 10)

    future = submit(slow)
    assert started.wait(10)
    assert future.cancel()
    assert cleaning.wait(10)
    assert not future.done()
    may_end.set()
    with pytest.raises(CancelledError):
        future.result(10)


def test_a_future_cancelled_at_once_never_hangs() -> None:
    futures = [submit(lambda: asyncio.Event().wait()) for _ in range(50)]
    for future in futures:
        future.cancel()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(10)


def test_an_interrupted_wait_cancels_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = threading.Event(), threading.Event()

    async def slow() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupted(self: Future[None], timeout: float | None = None) -> NoReturn:
        assert started.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sync(slow)
    assert ended.wait(10)


def test_waiting_for_the_loop_from_the_loop_itself_is_a_usage_error() -> None:
    async def outer() -> object:
        return run_sync(whoami)

    with pytest.raises(UsageError, match="await it instead"):
        run_sync(outer)


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    loop = LLMLoop()
    future = loop.submit(lambda: asyncio.Event().wait())
    loop.close()
    with pytest.raises(CancelledError):
        future.result(10)
    assert repr(loop) == "LLMLoop(closed)"


def test_a_loop_awaits_its_own_closers_alone() -> None:
    closed: list[tuple[str, threading.Thread]] = []

    async def of_all() -> None:
        closed.append(("of all", threading.current_thread()))

    async def own() -> None:
        closed.append(("own", threading.current_thread()))

    at_close(of_all)
    try:
        loop = LLMLoop([own])
        loop.close()
    finally:
        llm_loop._closers.remove(of_all)
    assert closed == [("own", loop.thread)]


def test_a_forked_child_leaves_what_its_parent_opened_alone() -> None:
    done = run_script(
        "import os\n"
        "from optuna_llm.samplers.client.llm_loop import at_close, run_sync\n"
        "async def closer(): print('closed by', 'child' if os.getpid() != parent else 'parent', flush=True)\n"
        "async def nothing(): pass\n"
        "parent = os.getpid()\n"
        "at_close(closer)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    run_sync(nothing)\n"
        "else:\n"
        "    os.waitpid(child, 0)\n"
        "    run_sync(nothing)\n"
    )
    assert (done.returncode, done.stdout) == (0, "closed by parent\n"), done.stderr


def test_the_exit_cancels_tasks_and_then_runs_the_closers_last_first() -> None:
    done = run_script(
        "import asyncio, threading\n"
        "from optuna_llm.samplers.client.llm_loop import at_close, submit\n"
        "async def first(): print('first')\n"
        "async def second(): print('second'); raise ValueError\n"
        "started = threading.Event()\n"
        "async def task():\n"
        "    started.set()\n"
        "    try: await asyncio.Event().wait()\n"
        "    finally: print('task')\n"
        "at_close(first); at_close(second); at_close(second)\n"
        "submit(task); started.wait()\n"
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["task", "second", "first"], "")


def test_a_closer_that_hangs_does_not_hang_the_exit() -> None:
    done = run_script(
        "import asyncio\n"
        "from optuna_llm.samplers.client.llm_loop import at_close, run_sync\n"
        "async def hang(): await asyncio.Event().wait()\n"
        "async def answer(): return 1\n"
        "at_close(hang); run_sync(answer)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_a_loop_of_its_own_and_leaves_the_parents_alone() -> None:
    done = run_script(
        "import os, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from optuna_llm.samplers.client.llm_loop import run_sync\n"
        "async def thread(): return threading.get_native_id()\n"
        "before = run_sync(thread)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if run_sync(thread) != before else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert run_sync(thread) == before\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
