"""What stands in for servers that snippets talk to: models, and those of W&B."""

import asyncio
import importlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from support import answer

from optuna_llm import LiteLLMClient, Reply, Request, Usage
from optuna_llm.samplers.client.local_client import LocalClient


def answer_models(*, local: bool) -> None:
    """Answer every model here, at random but as its schema wants it; with `local`, the embedded one as well."""
    really, draw = LiteLLMClient.complete, random.Random(0)

    async def complete(client: Any, request: Request) -> Reply:
        if "client" in getattr(client, "extra", {}):  # how the embedded model is asked
            return await really(client, request)
        await asyncio.sleep(0.001)
        text = json.dumps(answer(request.schema, draw))
        usage = Usage(prompt_tokens=100, completion_tokens=10)
        if isinstance(client, LiteLLMClient):
            prices = await client.prices()
            cost = prices.usd(usage.prompt_tokens, usage.completion_tokens) if prices.known else None
            usage = Usage(prompt_tokens=100, completion_tokens=10, cost=cost)
        model = getattr(client, "model", "local")
        return Reply(text=text, model=model, finish_reason="stop", usage=usage, latency=0.001)

    async def warm_up(client: Any) -> None:
        pass

    setattr(LiteLLMClient, "complete", complete)  # noqa: B010 (mypy knows better than to assign to a method)
    if local:
        setattr(LocalClient, "complete", complete)  # noqa: B010
        setattr(LocalClient, "warm_up", warm_up)  # noqa: B010


def answer_sweeps() -> None:
    """Draw the configurations of a W&B sweep here, and run what it tunes at once; runs are kept on this disk."""
    wandb: Any = importlib.import_module("wandb")
    sweeps: dict[str, Mapping[str, Any]] = {}

    def sweep(sweep: Mapping[str, Any], project: str) -> str:
        sweeps[project] = sweep
        return project

    def agent(sweep_id: str, function: Callable[[], object]) -> None:
        draw, init = random.Random(0), wandb.init
        for _ in range(sweeps[sweep_id]["run_cap"]):
            config = {name: _drawn(part, draw) for name, part in sweeps[sweep_id]["parameters"].items()}
            wandb.init = lambda config=config: init(project=sweep_id, config=config)
            try:
                function()
            finally:
                wandb.init = init

    wandb.sweep, wandb.agent = sweep, agent


def _drawn(part: Mapping[str, Any], draw: random.Random) -> Any:
    if "values" in part:
        return draw.choice(part["values"])
    one = draw.randint if isinstance(part["min"], int) else draw.uniform
    return one(part["min"], part["max"])
