"""A mailbox loses no call, keeps their order, and wakes its loop once for many."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from optuna_llm.engine.threads import mailbox_of


@pytest.mark.asyncio
async def test_many_calls_take_one_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, seen, woken = asyncio.get_running_loop(), list[int](), list[int]()
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[..., Any]) -> None:
        woken.append(1)
        wake(callback)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    mailbox = mailbox_of(loop)
    for number in range(100):
        mailbox.put(lambda number=number: seen.append(number))  # type: ignore[misc]
    await asyncio.sleep(0)
    assert seen == list(range(100))
    mailbox.put(lambda: seen.append(100))
    await asyncio.sleep(0)
    assert seen[-1] == 100
    assert len(woken) == 2


@pytest.mark.asyncio
async def test_calls_from_many_threads_all_come_in_the_order_of_each() -> None:
    mailbox, seen, all_there = mailbox_of(asyncio.get_running_loop()), list[tuple[int, int]](), asyncio.Event()

    def came(one: tuple[int, int]) -> None:
        seen.append(one)
        if len(seen) == 4000:
            all_there.set()

    def put(thread: int) -> None:
        for number in range(1000):
            mailbox.put(lambda one=(thread, number): came(one))  # type: ignore[misc]

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(60):
        await all_there.wait()
    for thread in threads:
        thread.join()
    for which in range(4):
        assert [number for thread, number in seen if thread == which] == list(range(1000))


@pytest.mark.asyncio
async def test_what_comes_during_a_look_waits_for_the_next_one() -> None:
    mailbox, seen = mailbox_of(asyncio.get_running_loop()), list[str]()

    def first() -> None:
        seen.append("first")
        mailbox.put(lambda: seen.append("second"))

    mailbox.put(first)
    asyncio.get_running_loop().call_soon(lambda: seen.append("something else"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert seen == ["first", "something else", "second"]


@pytest.mark.asyncio
async def test_an_error_is_reported_and_the_calls_after_it_are_made() -> None:
    loop, reported, seen = asyncio.get_running_loop(), list[Any](), list[str]()
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    error, mailbox = ValueError("no"), mailbox_of(loop)

    def fail() -> None:
        raise error

    mailbox.put(fail)
    mailbox.put(lambda: seen.append("after"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (reported, seen) == ([error], ["after"])


def test_a_closed_loop_refuses_and_is_not_kept() -> None:
    loop = asyncio.new_event_loop()
    mailbox = mailbox_of(loop)
    assert mailbox_of(loop) is mailbox
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            mailbox.put(lambda: None)
    assert repr(mailbox) == "Mailbox(0 waiting)"
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="gone"):
        mailbox.put(lambda: None)


def test_a_loop_that_closed_before_it_looked_refuses_all_the_same() -> None:
    loop = asyncio.new_event_loop()
    mailbox = mailbox_of(loop)
    mailbox.put(lambda: None)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        mailbox.put(lambda: None)
    assert repr(mailbox) == "Mailbox(0 waiting)"
