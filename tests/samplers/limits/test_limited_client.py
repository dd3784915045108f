"""Tokens are guessed high at first, then from what replies took; replies let more through at once."""

import asyncio

import clock

from optuna_llm import FunctionClient, Limits, Request, Usage
from optuna_llm.samplers.limits.limited_client import Estimator, LimitedClient
from optuna_llm.samplers.limits.limiter import Limiter

REQUEST = Request(
    messages=[{"role": "user", "content": "word " * 200}], schema={"properties": {"x": {}}}, max_tokens=300
)


def test_the_first_guess_is_generous() -> None:
    assert Estimator().estimate(REQUEST) > 400


def test_later_guesses_follow_the_largest_of_the_last_replies() -> None:
    estimator = Estimator()
    estimator.learn(REQUEST, Usage(prompt_tokens=200, completion_tokens=10))
    estimator.learn(REQUEST, Usage(prompt_tokens=250, completion_tokens=40))
    estimator.learn(REQUEST, Usage(prompt_tokens=210, completion_tokens=20))
    assert estimator.estimate(REQUEST) == 290
    assert estimator.typical() == 290


def test_what_was_long_ago_is_forgotten() -> None:
    estimator = Estimator()
    estimator.learn(REQUEST, Usage(prompt_tokens=2000, completion_tokens=1000))
    for _ in range(40):
        estimator.learn(REQUEST, Usage(prompt_tokens=200, completion_tokens=10))
    assert estimator.estimate(REQUEST) == 210


def test_before_the_first_reply_a_request_counts_as_a_large_one() -> None:
    assert Estimator().typical() == 2000


def test_after_a_refusal_replies_bring_the_limit_back() -> None:
    async def main() -> tuple[int | None, int | None]:
        async def model(_: Request) -> str:
            await asyncio.sleep(1)
            return "{}"

        limiter, estimator = Limiter(Limits(max_in_flight=8)), Estimator()

        async def one() -> None:
            await LimitedClient(FunctionClient(model), limiter, estimator).complete(REQUEST)

        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(one())
            await asyncio.sleep(0.5)
            limiter.throttled()
            cut = limiter.statistics().limit
        return cut, limiter.statistics().limit

    assert clock.run(main()) == (6, 8)
