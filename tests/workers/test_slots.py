"""Slots: each is held once, passed on in order, and never lost to who is cancelled."""

import anyio
import pytest

from optuna_llm.workers.slots import Slots

BACKENDS = ["asyncio", "trio"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_waits_longest_is_next(backend: str) -> None:
    async def main() -> list[str]:
        slots, order = Slots(1), list[str]()

        async def wait(name: str) -> None:
            slot = await slots.take()
            order.append(name)
            slots.give(slot)

        held = await slots.take()
        async with anyio.create_task_group() as group:
            for name in ("first", "second", "third"):
                group.start_soon(wait, name)
                await anyio.wait_all_tasks_blocked()
            slots.give(held)
        return order

    assert anyio.run(main, backend=backend) == ["first", "second", "third"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given_before", [False, True])
def test_who_is_cancelled_takes_no_slot_along(backend: str, given_before: bool) -> None:
    async def main() -> str:
        slots = Slots(1)
        held = await slots.take()
        async with anyio.create_task_group() as group:
            group.start_soon(slots.take)
            await anyio.wait_all_tasks_blocked()
            if given_before:  # at the same moment: the slot is passed on, and nobody comes to take it
                slots.give(held)
            group.cancel_scope.cancel()
        if not given_before:
            slots.give(held)
        return repr(slots)

    assert anyio.run(main, backend=backend) == "Slots(free=1, waiting=0)"
