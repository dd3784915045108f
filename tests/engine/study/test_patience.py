"""How long a storage is tried counts the time in which it was really asked, and only what it raised itself."""

import asyncio
import itertools
import pickle
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import clock
import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage

from optuna_llm import UsageError
from optuna_llm.engine.study import patience
from optuna_llm.engine.study.patience import AskedTime, Patience, RetryPolicy, StorageGone, StorageTimeout, is_away


def answered(value: Any = None) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def stand_still(seconds: float) -> None:
    """As Ctrl-Z, a paused container or a clock that jumps: the loop's time is later, and nothing ran."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, clock.JumpingLoop)
    loop.now += seconds


def test_only_time_in_which_we_looked_counts() -> None:
    held = False
    asked = AskedTime(100.0, lambda: held)
    for now in (101.0, 102.0, 3702.0):  # the last after an hour in which we stood still
        asked.look(now)
    assert asked.seconds == 4.0
    held = True
    asked.look(3703.0)
    held = False
    asked.look(3704.0)
    assert asked.seconds == 5.0


@pytest.mark.parametrize("seconds", [60.0, 0.5, 3.25])
def test_what_never_answers_is_given_up_in_time(seconds: float) -> None:
    async def main() -> float:
        began = clock.now()
        with pytest.raises(StorageTimeout, match="did not answer"):
            await Patience(RetryPolicy(seconds=seconds)).retry("trying", Future)
        return clock.now() - began

    assert clock.run(main()) == pytest.approx(seconds, abs=0.01)


def test_what_always_fails_is_given_up_in_time() -> None:
    async def main() -> float:
        began = clock.now()
        with pytest.raises(StorageTimeout, match="no route"):
            await Patience().retry("trying", lambda: answered(OSError("no route")))
        return clock.now() - began

    assert 60.0 <= clock.run(main()) <= 60.0 + patience.LONGEST_BACKOFF


@pytest.mark.parametrize("hours", [0.02, 1.0, 100.0])
@pytest.mark.parametrize("when", ["while it is asked", "in a pause"])
def test_a_process_that_stood_still_asks_on(hours: float, when: str) -> None:
    async def main() -> str:
        slow: Future[str] = Future()
        attempts = itertools.chain([answered(OSError("away"))] if when == "in a pause" else [], itertools.repeat(slow))
        asyncio.get_running_loop().call_later(0.05, stand_still, 3600 * hours)
        asyncio.get_running_loop().call_later(3600 * hours + 30, slow.set_result, "stored")
        return await Patience().retry("trying", lambda: next(attempts))

    assert clock.run(main()) == "stored"


@pytest.mark.parametrize("seconds", [61, 400, 3600])
def test_a_lock_that_the_living_hold_is_waited_for(seconds: float) -> None:
    async def main() -> tuple[str, float]:
        future: Future[str] = Future()
        free = clock.now() + seconds
        asyncio.get_running_loop().call_later(seconds + 20, future.set_result, "stored")
        return await Patience(held_up=lambda: clock.now() < free).retry("trying", lambda: future), clock.now()

    assert clock.run(main())[0] == "stored"


def test_what_is_given_up_before_it_begins_is_never_done() -> None:
    async def main() -> None:
        mine: Future[None] = Future()
        shared: Future[None] = Future()
        for future, cancel in ((mine, True), (shared, False)):
            with pytest.raises(StorageTimeout):
                await Patience(RetryPolicy(seconds=1)).retry("trying", lambda future=future: future, cancel=cancel)  # type: ignore[misc]
        assert mine.cancelled()
        assert not shared.cancelled()

    clock.run(main())


class Raising(InMemoryStorage):
    """Raises one error at each reading of a trial."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_trial(self, trial_id: int) -> Any:
        raise self.error


def raised(job: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the tests are about
        job()
    return caught.value


@pytest.mark.parametrize("error", [ConnectionError("gone"), OSError(28, "no space"), RuntimeError("pool"), Exception()])
def test_what_a_storage_raises_may_pass(error: Exception) -> None:
    assert is_away(raised(lambda: Raising(error).get_trial(0)))
    assert not is_away(error.with_traceback(None))  # raised by somebody else, a pruner for example


@pytest.mark.parametrize(
    "error",
    [
        TypeError("not JSON"),
        ValueError("not finite"),
        KeyError("no such trial"),
        UpdateFinishedTrialError(),
        UsageError("ours"),
        StorageGone("ours", why=""),
    ],
)
def test_what_a_storage_raises_for_what_it_was_given_comes_again(error: Exception) -> None:
    assert not is_away(raised(lambda: Raising(error).get_trial(0)))


def test_a_thread_that_waits_for_the_storage_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    storage = Raising(ConnectionError("gone"))
    with pytest.raises(StorageTimeout, match=r"60 s while reading.*gone"):
        Patience().retry_here("reading", storage.get_trial, 0)
    assert 60 <= now <= 60 + patience.LONGEST_BACKOFF
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]


def test_the_error_can_go_to_another_process() -> None:
    storage = Raising(ConnectionError("gone"))
    with pytest.raises(StorageTimeout) as caught:
        Patience(RetryPolicy(seconds=0.0)).retry_here("reading", storage.get_trial, 0)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (type(copied), str(copied), copied.why) == (StorageTimeout, str(caught.value), caught.value.why)


def test_a_thread_whose_calls_block_for_long_tries_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, 0

    class Blocking(InMemoryStorage):
        def get_trial(self, trial_id: int) -> Any:
            nonlocal now, calls
            calls += 1
            now += 3600  # stopped meanwhile, and the connection is gone
            if calls < 3:
                raise ConnectionError("gone")
            return "stored"

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert Patience().retry_here("reading", Blocking().get_trial, 0) == "stored"


def test_a_trial_that_was_lent_patience_is_otherwise_optunas_own() -> None:
    study = optuna.create_study()
    trial = study.ask()
    Patience().lend_to(trial)
    assert 0 <= trial.suggest_float("x", 0, 1) <= 1
    trial.report(0.5, 1)
    trial.set_user_attr("a", 1)
    assert not trial.should_prune()
    study.tell(trial, 1.0)
    (told,) = study.trials
    assert (told.user_attrs, told.intermediate_values, told.params) == ({"a": 1}, {1: 0.5}, trial.params)
