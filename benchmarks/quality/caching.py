"""How much of each prompt a local server finds in its cache: a run on llama.cpp, counted by its own tokenizer.

python -m benchmarks.quality.caching --model model.gguf --trials 30 --workers 4

The uncached tokens of an ask are to be at most its tail (all that follows the history) and the rows that were finished
since the prompt that its slot of the server held: with as many workers as slots, that of about so many asks ago.
"""

import argparse
import json
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Final

import anyio
import optuna

from optuna_llm import AsyncTrial, ContextPolicy, LLMGuidedSampler, Reply, Request, Usage, optimize_async
from optuna_llm.samplers.client import local_client as local

from .tasks.synthetic import BUILDERS
from .tasks.task import Task

TASK: Final = "synthetic/mixed"
FRAME: Final = 16
"""Tokens of the chat template, and those at a border that are cut differently once more text follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One prompt in tokens: all of it, what the server had to read, its tail, and the title and rows of its history."""

    prompt: int
    uncached: int
    tail: int
    title: int
    rows: tuple[int, ...]


@dataclass(slots=True)
class Watched:
    """A client that keeps what was asked, in the order in which the server began to read it, and the usage."""

    client: local.LocalClient
    asked: list[tuple[Request, list[Usage]]] = field(default_factory=list)

    async def complete(self, request: Request) -> Reply:
        usages: list[Usage] = []
        self.asked.append((request, usages))
        reply = await self.client.complete(request)
        assert reply.usage is not None
        usages.append(reply.usage)
        return reply

    async def aclose(self) -> None:
        await self.client.aclose()


def main(arguments: Sequence[str] | None = None) -> list[Asked]:
    """Run, count and print."""
    parser = argparse.ArgumentParser(description="Count the cached tokens of prompts.")
    parser.add_argument("--model", type=Path, help="a GGUF file (the embedded model)")
    parser.add_argument("--trials", type=int, default=30, metavar="N")
    parser.add_argument("--workers", type=int, default=4, metavar="N")
    parser.add_argument("--rationale", action="store_true", help="the model says why")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    client = Watched(local.LocalClient(options.model))
    anyio.run(run, client, BUILDERS[TASK](), options.trials, options.workers, options.rationale)
    asked = [counted(client.client.path, request, usage) for request, usages in client.asked for usage in usages]
    slots = local.SLOTS
    ages = Counter(age(asked, index) for index in range(slots, len(asked)))
    later = asked[slots:]
    print(f"{len(asked)} prompts of {len(client.asked)} asks; {TASK}, {options.workers} workers")
    print(f"longest prompt: {max(one.prompt for one in asked)} tokens; longest tail: {max(one.tail for one in asked)}")
    print(f"cached after the first {slots}: {1 - sum(o.uncached for o in later) / sum(o.prompt for o in later):.0%}")
    print(
        f"uncached tokens of an ask, mean: {mean(one.uncached for one in later):.0f}; of them tail: "
        f"{mean(one.tail for one in later):.0f}"
    )
    print(f"asks by the age of the prompt that they went on from, in asks: {dict(sorted(ages.items(), key=str))}")
    return asked


async def run(client: Watched, task: Task, trials: int, workers: int, rationale: bool) -> None:
    sampler = LLMGuidedSampler(
        client,
        task=task.text,
        parameters=task.parameters,
        context=ContextPolicy(rationale=rationale),
        seed=0,
    )
    study = optuna.create_study(sampler=sampler, direction=task.direction)

    async def objective(trial: AsyncTrial) -> float:
        return task.evaluate(trial.params).value

    await optimize_async(study, objective, n_trials=trials, n_workers=workers, search_space=task.space)


def counted(path: Path, request: Request, usage: Usage) -> Asked:
    """One request in the server's tokens. A re-ask has the same history, and a longer tail."""
    history, *tail = request.messages[1]["content"].split("\n\n")
    later = [message["content"] for message in request.messages[2:]]
    title, header, *rows = history.split("\n")
    return Asked(
        prompt=usage.prompt_tokens,
        uncached=usage.prompt_tokens - usage.cached_tokens,
        tail=tokens(path, "\n\n".join([*tail, *later])),
        title=tokens(path, f"{title}\n{header}\n"),
        rows=tuple(tokens(path, f"{row}\n") for row in rows),
    )


def age(asked: Sequence[Asked], index: int) -> int | None:
    """How many asks ago the prompt was asked that an ask goes on from: from there on it reads new rows and its tail.

    None if what the server read is more than that, for every earlier prompt.
    """
    now = asked[index]
    for ago, before in enumerate(reversed(asked[:index]), start=1):
        known = len(before.rows)
        title = 0 if known else now.title  # of the table, which the first prompts do not have
        if now.uncached <= FRAME + title + now.tail + sum(now.rows[known:]):
            return ago
    return None


def tokens(path: Path, text: str) -> int:
    """How many tokens the running server makes of a text."""
    server = local.servers.get(path)
    request = urllib.request.Request(
        f"{server.address}/tokenize",
        data=json.dumps({"content": text}).encode(),
        headers={"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return len(json.load(answer)["tokens"])


if __name__ == "__main__":
    main()
