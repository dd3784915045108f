"""Wherever a run is cancelled, what was proposed is a trial or given back, and what it took is on record."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream
from optuna.trial import TrialState
from support import SPACE, SchemaModel, llm_sampler, sampler

from optuna_llm import AsyncTrial, ask_async, optimize_async
from optuna_llm.engine.run.schedule import Proposed
from optuna_llm.engine.run.trial_runner import TrialRunner


class CountingLoop(asyncio.SelectorEventLoop):
    """Does something at one of its turns, counted from `arm` on."""

    def __init__(self) -> None:
        self._left = -1
        self._then: Callable[[], object] = bool
        super().__init__()

    def arm(self, turns: int, then: Callable[[], object]) -> None:
        self._left, self._then = turns, then

    def _run_once(self) -> None:
        if self._left == 0:
            self._then()
        self._left -= 1
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(main)


async def objective(trial: AsyncTrial) -> float:
    await anyio.lowlevel.checkpoint()
    return 1.0


def made(enqueued: int) -> tuple[optuna.Study, SchemaModel]:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))
    for number in range(enqueued):
        study.enqueue_trial({"lr": 0.001 * (number + 1)})
    return study, model


def check_nothing_is_left(study: optuna.Study, model: SchemaModel) -> None:
    door = llm_sampler(study).door(study)
    assert repr(door.in_flight) == "InFlight(reserved=0, assigned=0, claimed=0, asking=0)"
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}
    spent = sum(trial.user_attrs["llm"]["calls"] for trial in study.trials if "llm" in trial.user_attrs)
    untold = sum(value["requests"] for name, value in study.user_attrs.items() if name.startswith("llm_spending:"))
    assert spent + untold == len(model.requests)


def all_but_this(loop: asyncio.AbstractEventLoop, kept: "asyncio.Task[Any] | None") -> None:
    """As a loop that is closed does: tasks that have not begun never do."""
    for task in asyncio.all_tasks(loop):
        if task is not kept:
            task.cancel()


@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")  # anyio's own, of such a task
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("enqueued", [0, 20])
@pytest.mark.parametrize("first", [0, 5])
def test_cancelled_at_any_turn_of_the_loop(first: int, enqueued: int, everything: bool) -> None:
    async def cancelled(turn: int) -> tuple[optuna.Study, SchemaModel]:
        study, model = made(enqueued)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        main = asyncio.current_task()
        going = asyncio.create_task(
            optimize_async(study, objective, n_trials=20, n_workers=4, prefetch=2, search_space=SPACE)
        )
        loop.arm(turn, (lambda: all_but_this(loop, main)) if everything else going.cancel)
        await asyncio.gather(going, return_exceptions=True)
        loop.arm(-1, bool)
        return study, model

    for turn in range(first, 96, 16):
        check_nothing_is_left(*run(cancelled(turn)))
    gc.collect()  # a warning about a task that never began belongs to this test


@pytest.mark.parametrize("enqueued", [0, 3])
def test_an_event_that_is_dropped_on_its_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, enqueued: int) -> None:
    """As a stream drops what it was handed at the moment at which its receiver is cancelled."""
    receive, dropped = MemoryObjectReceiveStream.receive, []

    async def cancelled() -> tuple[optuna.Study, SchemaModel]:
        study, model = made(enqueued)
        going: asyncio.Task[Any]

        async def receive_and_drop(self: Any) -> Any:
            event = await receive(self)
            if isinstance(event, Proposed):
                dropped.append(event)
                going.cancel()
                await anyio.sleep_forever()
            return event

        monkeypatch.setattr(MemoryObjectReceiveStream, "receive", receive_and_drop)
        going = asyncio.create_task(optimize_async(study, objective, n_trials=5, n_workers=2, search_space=SPACE))
        await asyncio.gather(going, return_exceptions=True)
        return study, model

    check_nothing_is_left(*asyncio.run(cancelled()))
    assert dropped


def test_a_trial_that_is_never_begun_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    going: list[asyncio.Task[Any]] = []

    async def never(self: TrialRunner, candidate: Any) -> None:
        going[0].cancel()
        await anyio.sleep_forever()

    async def cancelled() -> tuple[optuna.Study, SchemaModel]:
        study, model = made(1)
        run = optimize_async(study, objective, n_trials=5, n_workers=2, search_space=SPACE)
        going.append(asyncio.create_task(run))
        await asyncio.gather(*going, return_exceptions=True)
        return study, model

    monkeypatch.setattr(TrialRunner, "run", never)
    check_nothing_is_left(*asyncio.run(cancelled()))


@pytest.mark.parametrize("first", range(2))
def test_a_batch_that_is_cancelled_at_any_turn_leaves_nothing(first: int) -> None:
    async def cancelled(turn: int) -> tuple[optuna.Study, SchemaModel]:
        study, model = made(2)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        going = asyncio.create_task(ask_async(study, 4, search_space=SPACE))
        loop.arm(turn, going.cancel)
        (trials,) = await asyncio.gather(going, return_exceptions=True)
        for trial in trials if isinstance(trials, list) else ():  # it was done before
            study.tell(trial, 1.0)
        return study, model

    for turn in range(first, 40, 4):
        check_nothing_is_left(*run(cancelled(turn)))


def test_a_result_is_stored_although_the_run_is_cancelled_while_its_reports_are_written() -> None:
    study, model = made(0)
    going: list[asyncio.Task[Any]] = []

    async def reporting(trial: AsyncTrial) -> float:
        trial.report(0.5, step=1)
        asyncio.get_running_loop().call_soon(going[0].cancel)
        return 7.5

    async def main() -> None:
        going.append(asyncio.create_task(optimize_async(study, reporting, n_trials=3, search_space=SPACE)))
        await asyncio.gather(*going, return_exceptions=True)

    asyncio.run(main())
    check_nothing_is_left(study, model)
    assert (study.trials[0].value, study.trials[0].intermediate_values) == (7.5, {1: 0.5})
