"""One question to a model, and what its answer tells of a run."""

import time
from collections.abc import Mapping
from typing import Any, Final

import anyio
from optuna.distributions import FloatDistribution

from .. import Client, ClientError, Reply, Request
from ..engine.logs import counted
from ..samplers.space.reply import parse
from ..samplers.space.reply_model import conform, json_schema
from ..samplers.space.space import make_space

_QUESTION: Final = "Propose a value of x between 0 and 1. Answer with a JSON object that has the keys rationale and x."
# What holds an answer to its schema, by the modes of `samplers.wire.ladder`, the strictest first.
WAYS: Final[Mapping[str, str]] = {
    "json_schema": "a strict JSON schema",
    "json_schema_without_bounds": "a strict JSON schema without bounds",
    "tool": "a function to call",
    "json_object": "any JSON object will do, and words tell the schema",
    "prompt": "words alone",
}
# More than the ways that a server can refuse one after the other.
_MOST_REQUESTS: Final = 10


def checked(client: Client, n_trials: int) -> dict[str, Any]:
    """Ask a model until its server takes how it is asked; raises the client's own errors.

    `structured_output` is what held the answer to its schema in the end, `refused` what the server said of stricter
    ways, `violation` what is wrong with the answer itself: with either None, all is well. Estimates are
    lower bounds, of trials one after the other: all asks are priced, and take as long, as the last request, whose
    prompt is shorter than a run's, and evaluations are not in them.
    """
    space, refused = make_space({"x": FloatDistribution(0, 1)}), list[str]()
    request = Request(messages=[{"role": "user", "content": _QUESTION}], schema=json_schema(space))

    async def ask() -> tuple[Reply, str | None, float]:
        try:
            while True:
                began = time.perf_counter()
                try:
                    reply = await client.complete(request)
                except ClientError as error:
                    if not error.at_once or len(refused) == _MOST_REQUESTS:
                        raise
                    refused.append(str(error))
                else:
                    return reply, _way_of(client), time.perf_counter() - began
        finally:
            await client.aclose()

    reply, way, seconds = anyio.run(ask)
    parsed = parse(reply.text, reply.finish_reason)
    wrong = [parsed.violation] if parsed.values is None else conform(parsed.values, space).violations
    cost = reply.usage.cost if reply.usage else None
    latency = seconds if reply.latency is None else reply.latency
    return {
        "works": not wrong,
        "violation": wrong[0] if wrong else None,
        "model": reply.model or getattr(client, "model", None),
        "structured_output": way,
        "refused": refused,
        "latency": latency,
        "cost": cost,
        "quota": dict(reply.quota or {}),
        "n_trials": n_trials,
        "estimated_cost": None if cost is None else cost * n_trials,
        "estimated_seconds": latency * n_trials,
    }


def found_as_text(found: Mapping[str, Any]) -> str:
    """What `checked` found, for people: a line for each thing that is known."""
    trials, way = counted(found["n_trials"], "trial"), found["structured_output"]
    several = found["n_trials"] != 1
    lines = {
        "works": "yes" if found["works"] else f"no, it answers, but not as asked: {found['violation']}",
        "model": found["model"],
        "answers are held by": None if way is None else f"{WAYS.get(way, 'unknown')} ({way})",
        **{f"refused before ({place})": said for place, said in enumerate(found["refused"], 1)},
        "latency": f"{found['latency']:.2f} s",
        "cost": _dollars(found["cost"]),
        **{f"quota: {name}": value for name, value in found["quota"].items()},
        f"{trials} cost{'' if several else 's'}": f"{_dollars(found['estimated_cost'])}; a lower bound, for real "
        "prompts are longer",
        f"{trials} take{'' if several else 's'}": f"{found['estimated_seconds']:.0f} s of the model's time, one after "
        "the other; a lower bound, for real prompts are longer, and evaluations are not in it",
    }
    known = {name: str(value) for name, value in lines.items() if value is not None}
    width = max(map(len, known))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in known.items())


def _way_of(client: Client) -> str | None:
    """How a client of LiteLLM's asks by now; None for clients that have no ways to choose from."""
    return getattr(getattr(client, "manner", None), "mode", None)


def _dollars(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:.6f}"
