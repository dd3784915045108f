"""Turns come in order, one task at a time, as many in an iteration of the loop as it has time for."""

import asyncio
import time
from collections import Counter

import pytest

from optuna_llm.samplers.turns import ITERATION_SECONDS, Turns

pytestmark = pytest.mark.asyncio


class Clock:
    """The CPU of this thread, which tests spend; and the iterations of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cpu, self.iteration = 0.0, 0
        monkeypatch.setattr(time, "thread_time", lambda: self.cpu)
        self._count()

    def _count(self) -> None:
        self.iteration += 1
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def stop(self) -> None:
        self._next.cancel()


@pytest.mark.parametrize(("share", "most"), [(2.0, 1), (0.75, 2), (0.3, 4)])
async def test_an_iteration_takes_as_many_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, share: float, most: int
) -> None:
    """`share`: of the time of an iteration that a turn takes; `most`: that come in one."""
    clock, mine, came = Clock(monkeypatch), Turns(), list[tuple[int, int]]()

    async def take(number: int) -> None:
        async with mine:
            clock.cpu += share * ITERATION_SECONDS
            came.append((number, clock.iteration))

    await asyncio.gather(*map(take, range(60)))
    clock.stop()
    assert [number for number, _ in came] == list(range(60))
    assert max(Counter(iteration for _, iteration in came).values()) == most


async def test_who_awaits_something_in_a_turn_has_it_to_the_end() -> None:
    mine, gate, order = Turns(), asyncio.Event(), list[str]()

    async def slow() -> None:
        async with mine:
            order.append("slow begins")
            await gate.wait()
            order.append("slow ends")

    async def quick() -> None:
        async with mine:
            order.append("quick")

    tasks = [asyncio.create_task(one()) for one in (slow, quick, quick)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == ["slow begins"]
    gate.set()
    await asyncio.gather(*tasks)
    assert order == ["slow begins", "slow ends", "quick", "quick"]


async def test_who_is_cancelled_takes_nobody_elses_turn() -> None:
    mine, came = Turns(), list[int]()

    async def take(number: int) -> None:
        async with mine:
            came.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    assert await asyncio.gather(*tasks, return_exceptions=True) != [None] * 4
    assert came == [1, 3]
    await take(4)
    assert came[-1] == 4
