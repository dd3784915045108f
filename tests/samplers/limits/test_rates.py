"""A server that counts: 64 askers, real HTTP, real time, and its limits hold to the last request."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import pytest
from counting_server import WINDOW, Counting

from optuna_llm import Limits, LiteLLMClient, OptunaLLMError, Request
from optuna_llm.samplers.client.library import load
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.pace import JITTER_SECONDS
from optuna_llm.samplers.limits.stack import ClientStack

ASKERS = 64
ATTEMPTS = 4


class Stalls:
    """The longest time for which this machine let neither loop of the process run."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before - 0.01), now


def measure(limits: Limits, server: Counting) -> Stalls:
    """64 askers for a window and a bit."""
    request = Request(messages=[{"role": "user", "content": "tune " * 120}], schema={"type": "object"}, max_tokens=60)
    client = LiteLLMClient("openai/m", api_base=server.url, api_key="k")
    stack = ClientStack(client, Limiter(limits), Account())
    stalls = Stalls()

    async def ask_for_ever(over: asyncio.Event) -> None:
        while not over.is_set():
            calls = stack.calls()
            with contextlib.suppress(OptunaLLMError):  # counted by the server
                async with calls.turn():
                    await calls.complete(request)

    async def main() -> None:
        over = asyncio.Event()
        watching = asyncio.ensure_future(stalls.watch())
        tasks = [asyncio.ensure_future(ask_for_ever(over)) for _ in range(ASKERS)]
        await asyncio.sleep(WINDOW + 2.5)
        watching.cancel()
        over.set()
        server.over = True
        stack.limiter.limits = Limits()
        await asyncio.gather(*tasks)
        await client.aclose()

    run_sync(main)
    return stalls


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "allowed", "cost"),
    [
        (Limits(requests_per_minute=600), 100, lambda _: 1),
        (Limits(tokens_per_minute=200_000), 200_000 / 6, float),
    ],
    ids=["600 requests a minute", "200,000 tokens a minute"],
)
def test_the_rate_is_never_exceeded_and_nearly_all_used(
    limits: Limits, allowed: float, cost: Callable[[int], float]
) -> None:
    """A machine that stalls for longer than the limiter allows for proves nothing: then it is measured anew."""
    load()
    for attempt in range(ATTEMPTS):
        with Counting(allowed, cost) as server:
            stalls = measure(limits, server)
        if stalls.longest <= JITTER_SECONDS or attempt == ATTEMPTS - 1:
            break
    assert server.violations == 0, f"the longest stall was {stalls.longest:.3f} s"
    assert server.used() >= 0.95, f"the longest stall was {stalls.longest:.3f} s"
