"""The limiter lets requests through in order, at the rate, and forgets nothing and nobody."""

import asyncio
import logging
from typing import Any

import clock
import pytest

from optuna_llm import Limits, UsageError
from optuna_llm.engine.records import Share
from optuna_llm.engine.study.state import Sharing
from optuna_llm.samplers.limits.concurrency import PATIENT_ROUNDS
from optuna_llm.samplers.limits.limiter import Limiter, Slot


async def send(limiter: Limiter, tokens: float = 0.0, seconds: float = 0.0) -> float:
    """One request that takes so long; returns when it was let through."""
    slot = await limiter.acquire(tokens)
    at = clock.now()
    slot.use(tokens)
    await asyncio.sleep(seconds)
    slot.release()
    return at


def test_requests_are_spread_evenly_over_the_minute() -> None:
    async def main() -> list[float]:
        limiter = Limiter(Limits(requests_per_minute=600))
        return await asyncio.gather(*(send(limiter) for _ in range(400)))

    times = clock.run(main())
    assert max(sum(start <= at < start + 10 for at in times) for start in times) <= 100
    assert 399 / (times[-1] - times[0]) >= 0.95 * 10


def test_requests_go_in_the_order_in_which_they_came() -> None:
    async def main() -> list[int]:
        limiter, order = Limiter(Limits(requests_per_minute=60)), []

        async def one(name: int) -> None:
            await send(limiter)
            order.append(name)

        await asyncio.gather(*map(one, range(20)))
        return order

    assert clock.run(main()) == list(range(20))


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(tokens_per_minute=6000))
        before = [asyncio.ensure_future(send(limiter, 100)) for _ in range(10)]
        large = asyncio.ensure_future(send(limiter, 5000))
        after = [asyncio.ensure_future(send(limiter, 100)) for _ in range(50)]
        started = clock.now()
        waited = await large - started
        assert all(task.done() for task in before)
        assert not any(task.done() for task in after)
        await asyncio.gather(*after)
        return waited

    assert clock.run(main()) < 15


def test_no_more_are_in_flight_than_allowed() -> None:
    async def main() -> int:
        limiter = Limiter(Limits(max_in_flight=3))
        tasks = [asyncio.ensure_future(send(limiter, seconds=1)) for _ in range(10)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, limiter.statistics().active)
            await asyncio.sleep(0.25)
        return most

    assert clock.run(main()) == 3


def test_tokens_that_were_not_needed_are_given_back() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(tokens_per_minute=60_000))
        for _ in range(60):
            slot = await limiter.acquire(3000)
            slot.use(3000)
            slot.correct(1000)
            slot.release()
        return clock.now() - 1000.0

    assert clock.run(main()) == pytest.approx(60, rel=0.1)


def test_a_slot_that_was_not_used_costs_nothing() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(requests_per_minute=1, tokens_per_minute=100))
        for _ in range(50):
            (await limiter.acquire(100)).release()
        return clock.now() - 1000.0

    assert clock.run(main()) < 1


def test_a_slot_is_released_once() -> None:
    async def main() -> int:
        limiter = Limiter(Limits(max_in_flight=2))
        slot, other = await limiter.acquire(), await limiter.acquire()
        slot.release()
        slot.release()
        assert other.held
        return limiter.statistics().active

    assert clock.run(main()) == 1


def test_a_waiter_that_is_cancelled_leaves_the_queue_and_its_turn() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_in_flight=1))
        first = await limiter.acquire()
        second, third = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert limiter.statistics().waiting == 1
        first.release()
        assert (await third).held

    clock.run(main())


def test_a_waiter_that_is_cancelled_as_it_is_let_through_gives_everything_back() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_in_flight=1, tokens_per_minute=1000, requests_per_minute=60))
        first = await limiter.acquire(10)
        second = asyncio.ensure_future(limiter.acquire(900))
        await asyncio.sleep(5)
        first.use(10)
        first.release()  # lets the second through, which is cancelled before it runs
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert limiter.statistics().active == 0
        began = clock.now()
        third = await limiter.acquire(10)
        assert clock.now() - began < 2
        third.release()

    clock.run(main())


def test_a_pause_holds_all_up_and_a_shorter_one_does_not_end_it() -> None:
    async def main() -> tuple[float, float]:
        limiter = Limiter()
        (await limiter.acquire()).release()
        began = clock.now()
        limiter.throttled(30.0)
        limiter.throttled(1.0)
        await asyncio.gather(*(send(limiter) for _ in range(5)))
        return clock.now() - began, limiter.statistics().paused_seconds

    waited, paused = clock.run(main())
    assert waited == pytest.approx(30)
    assert paused == pytest.approx(30)


def test_a_pause_that_comes_while_others_wait_holds_them_up_too() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(requests_per_minute=60))
        began = clock.now()
        tasks = [asyncio.ensure_future(send(limiter)) for _ in range(3)]
        await asyncio.sleep(0.5)
        limiter.pause(40)
        await asyncio.gather(*tasks)
        return tasks[1].result() - began

    assert clock.run(main()) >= 40


def test_a_refusal_lets_fewer_through_at_once() -> None:
    async def main() -> int | None:
        limiter = Limiter(Limits(max_in_flight=8))
        slots = [await limiter.acquire() for _ in range(8)]
        limiter.throttled()
        for slot in slots:
            slot.release()
        return limiter.statistics().limit

    assert clock.run(main()) == 6


def test_a_limit_that_grows_lets_one_more_through_at_once() -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_in_flight=2))
        first, second = await limiter.acquire(), await limiter.acquire()
        limiter.throttled()
        first.release()
        for _ in range(PATIENT_ROUNDS):  # one reply is a whole round at a limit of one
            second.answered = True
            second.release()
            second = await limiter.acquire()
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0)
        assert not waiting.done()
        second.answered = True
        second.release()
        assert (await waiting).held
        assert (await limiter.acquire()).held

    clock.run(main())


def test_a_long_pause_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        Limiter().throttled(45.0)

    clock.run(main())
    assert "45 s" in caplog.text


def test_what_may_be_in_flight_is_said_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        limiter = Limiter()
        slots = [await limiter.acquire() for _ in range(10)]
        limiter.throttled()
        for slot in slots[:8]:
            slot.answered = True
            slot.release()

    with caplog.at_level(logging.INFO, logger="optuna_llm"):
        clock.run(main())
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert lines == [
        "From now on at most 8 requests may be in flight; any number of requests before",
        "From now on at most 9 requests may be in flight; at most 8 requests before",
    ]


def test_a_single_request_in_flight_is_said_as_one(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_in_flight=2))
        for _ in range(2):
            await limiter.acquire()
        limiter.throttled()

    with caplog.at_level(logging.INFO, logger="optuna_llm"):
        clock.run(main())
    assert "From now on at most 1 request may be in flight; at most 2 requests before" in caplog.text


def test_a_request_larger_than_a_minute_is_refused_at_once() -> None:
    async def main() -> Slot:
        return await Limiter(Limits(tokens_per_minute=1000)).acquire(1001)

    with pytest.raises(UsageError, match="tokens_per_minute=1000"):
        clock.run(main())


def test_limits_may_change_while_others_wait() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(requests_per_minute=1))
        await send(limiter)
        limiter.limits = Limits(requests_per_minute=600)
        began = clock.now()
        await asyncio.gather(*(send(limiter) for _ in range(10)))
        return clock.now() - began

    assert clock.run(main()) < 3


def test_a_share_divides_the_rates() -> None:
    async def main() -> float:
        limiter = Limiter(Limits(requests_per_minute=600, max_in_flight=7))
        kept = {"a study": Sharing(), "another": Sharing()}
        for (study, sharing), processes in zip(kept.items(), (2, 1), strict=True):
            sharing.update(Share(processes=processes))
            limiter.share(study, sharing)
        (await limiter.acquire()).release()
        assert limiter.statistics().limit == 3
        times = await asyncio.gather(*(send(limiter) for _ in range(50)))
        return (max(times) - min(times)) / 49

    assert clock.run(main()) >= 0.2


def test_a_limiter_serves_one_loop_after_the_other() -> None:
    limiter = Limiter(Limits(max_in_flight=1, requests_per_minute=600))

    async def main() -> bool:
        return (await limiter.acquire()).held  # never released: its loop is gone

    assert clock.run(main())
    assert clock.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_minute": 0},
        {"requests_per_minute": True},
        {"tokens_per_minute": -1},
        {"tokens_per_minute": float("inf")},
        {"max_in_flight": 0},
        {"max_in_flight": 1.5},
        {"max_in_flight": "many"},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)


def test_a_limiter_says_where_it_stands() -> None:
    assert "waiting=0" in repr(Limiter())
