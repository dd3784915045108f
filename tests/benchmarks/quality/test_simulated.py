"""The simulated clock."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.simulated import Simulation, Times


async def simulate(seconds: list[float], workers: int, latency: float = 0.0) -> list[Times]:
    """The times of evaluations in the order in which they ended, each begun by a worker as soon as it is free."""
    simulation = Simulation(workers, len(seconds))
    left = list(seconds)
    ended: list[Times] = []

    async def worker() -> None:
        while left:
            ended.append(await simulation.spend(latency, left.pop(0)))

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(worker)
    return ended


def test_evaluations_end_in_the_order_of_their_seconds() -> None:
    ended = anyio.run(simulate, [5.0, 1.0, 3.0, 1.0], 2)
    assert ended == [
        Times(asked=0.0, began=0.0, ended=1.0),
        Times(asked=1.0, began=1.0, ended=4.0),
        Times(asked=0.0, began=0.0, ended=5.0),
        Times(asked=4.0, began=4.0, ended=5.0),
    ]


def test_one_worker_takes_the_sum_of_latencies_and_seconds() -> None:
    assert anyio.run(simulate, [2.0, 3.0, 4.0], 1, 0.5)[-1].ended == 2.0 + 3.0 + 4.0 + 3 * 0.5


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12), st.integers(1, 4))
def test_the_simulated_end_is_that_of_a_greedy_schedule(seconds: list[float], workers: int) -> None:
    free = [0.0] * workers
    for duration in seconds:
        free.sort()
        free[0] += duration
    ended = anyio.run(simulate, seconds, workers)
    assert max(times.ended for times in ended) == pytest.approx(max(free))


def test_whoever_waits_is_let_go_if_no_other_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.quality.simulated.STALL_SECONDS", 0.0)
    monkeypatch.setattr("benchmarks.quality.simulated.POLL_SECONDS", 0.001)

    async def alone() -> Times:
        return await Simulation(3, 10).spend(0.0, 7.0)

    assert anyio.run(alone).ended == 7.0
