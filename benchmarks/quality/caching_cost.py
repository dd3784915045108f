"""What the prompts of a run cost with each layout of marks for a provider's cache, by the providers' published rules.

python -m benchmarks.quality.caching_cost --trials 100

The prompts are those of a real run, one ask at a time; no model and no network is needed. Rules and prices of November
2026 (docs.claude.com/en/docs/build-with-claude/prompt-caching, developers.openai.com/api/docs/guides/prompt-caching):

* at marks, Anthropic: a prefix is written where it ends with a mark, and found by a later request that has the same
  parts, from at most `LOOK_BACK` parts before one of its own marks on; shorter ones than the model's least are not kept
* at marks, OpenAI from GPT-5.6 on: a prefix is found at marks alone; without any of ours, OpenAI marks the end
* automatic, OpenAI before: what a prompt begins with as the one before does, in steps of 128 tokens from 1,024 on

Asks are taken to follow each other before a prefix is dropped (5 minutes or more). Tokens are counted as pieces: words,
digits by threes, marks of punctuation. What a schema adds, and the answers, are not counted: no layout changes them.
"""

import argparse
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, Literal

import optuna

from optuna_llm import FunctionClient, LLMGuidedSampler, Request
from optuna_llm.samplers.wire.cache_marks import marked

from .tasks.synthetic import BUILDERS

TASK: Final = "synthetic/mixed"
LOOK_BACK: Final = 20
STEP: Final = 128
PIECE: Final = re.compile(r"\d{1,3}|[^\W\d_]{1,8}|\s+(?=[\s\d])|[^\w\s]+|_|\n")

Way = Literal["parts", "marks", "automatic"]
Layout = Literal["no marks", "head", "head + history", "head + blocks"]
LAYOUTS: Final[tuple[Layout, ...]] = ("no marks", "head", "head + history", "head + blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a model's provider caches: US dollars per million tokens, times `write` or `read`; `least` tokens or none."""

    model: str
    way: Way
    dollars: float
    least: int
    write: float = 1.25
    read: float = 0.1


MODELS: Final = (
    Rules(model="claude-opus-5", way="parts", dollars=5.0, least=512),
    Rules(model="claude-sonnet-5", way="parts", dollars=2.0, least=1024),
    Rules(model="claude-haiku-4-5", way="parts", dollars=1.0, least=4096),
    Rules(model="gpt-5.6", way="marks", dollars=4.0, least=1024),
    Rules(model="gpt-5-mini", way="automatic", dollars=0.25, least=1024, write=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A text, and whether a mark follows it."""

    text: str
    mark: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Prompt tokens of a run: all, and how many of these were read from the cache and written into it."""

    prompt: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "Took") -> "Took":
        return Took(
            prompt=self.prompt + other.prompt, read=self.read + other.read, written=self.written + other.written
        )

    def usd(self, rules: Rules) -> float:
        rest = self.prompt - self.read - self.written
        return (rest + self.written * rules.write + self.read * rules.read) * rules.dollars / 1e6


def main(arguments: Sequence[str] | None = None) -> dict[str, list[Took]]:
    """Run, count and print a table; per model what each layout took."""
    parser = argparse.ArgumentParser(description="What prompts cost with each layout of marks.")
    parser.add_argument("--trials", type=int, default=100, metavar="N")
    options = parser.parse_args(arguments)
    requests = prompts(options.trials)
    table = {rules.model: [took(requests, layout, rules) for layout in LAYOUTS] for rules in MODELS}
    print(f"| {options.trials} asks of {TASK}, dollars | {' | '.join(LAYOUTS)} | read, written (last) |")
    print("| --- " * (len(LAYOUTS) + 2) + "|")
    for rules in MODELS:
        found = table[rules.model]
        dollars = " | ".join(f"{one.usd(rules):.4f} ({one.usd(rules) / found[0].usd(rules):.0%})" for one in found)
        last = found[-1]
        print(f"| {rules.model} | {dollars} | {last.read / last.prompt:.0%}, {last.written / last.prompt:.0%} |")
    sizes = [tokens(text_of(request)) for request in requests]
    print(f"\nprompts of {min(sizes)} to {max(sizes)} tokens, {sum(sizes)} in all")
    return table


def prompts(trials: int) -> list[Request]:
    """The requests of a run whose model answers at random, one at a time."""
    requests: list[Request] = []
    rng = random.Random(0)

    def answer(request: Request) -> dict[str, Any]:
        requests.append(request)
        return {name: _drawn(part, rng) for name, part in request.schema["properties"].items()}

    task = BUILDERS[TASK]()
    sampler = LLMGuidedSampler(
        FunctionClient(answer),
        task=task.text,
        parameters=task.parameters,
        search_space=task.space,
        strategy="plain",
        seed=0,
    )
    study = optuna.create_study(sampler=sampler, direction=task.direction)
    for _ in range(trials):
        trial = study.ask(dict(task.space))
        study.tell(trial, task.evaluate(trial.params).value)
    return requests


def _drawn(part: Mapping[str, Any], rng: random.Random) -> Any:
    if "enum" in part:
        return rng.choice(part["enum"])
    if part["type"] == "string":
        return "at random"
    return (rng.randint if part["type"] == "integer" else rng.uniform)(part["minimum"], part["maximum"])


def laid_out(request: Request, layout: Layout) -> list[Part]:
    """The parts of a prompt, in order."""
    if layout == "no marks":
        return [Part(text=message["content"], mark=False) for message in request.messages]
    history = request.messages[1]["content"].index("\n\n") + 1
    ends = {"head": (), "head + history": (history,), "head + blocks": tuple(request.prefix_ends)}[layout]
    parts: list[Part] = []
    for message in marked(request.messages, ends):
        content = message["content"]
        given = [{"text": content}] if isinstance(content, str) else content
        parts += [Part(text=part["text"], mark="cache_control" in part) for part in given]
    return parts


def took(requests: Sequence[Request], layout: Layout, rules: Rules) -> Took:
    """What a provider with these rules counts for the requests, one after the other."""
    kept: set[str] = set()
    before = ""
    total = Took()
    for request in requests:
        text = text_of(request)
        if rules.way == "automatic":
            total += Took(prompt=tokens(text), read=_automatic(text, before, rules))
        else:
            total += _at_marks(laid_out(request, layout), kept, rules)
        before = text
    return total


def _automatic(text: str, before: str, rules: Rules) -> int:
    common = tokens(text[: _n_common(text, before)])
    return common // STEP * STEP if common >= rules.least else 0


def _at_marks(parts: Sequence[Part], kept: set[str], rules: Rules) -> Took:
    """Find the longest prefix that is kept, and keep those that end with a mark."""
    prefixes = list(accumulate(part.text for part in parts))
    marks = [place for place, part in enumerate(parts) if part.mark]
    if rules.way == "marks":
        seen = marks = marks or [len(parts) - 1]
    else:
        seen = [place for place in range(len(parts)) if any(0 <= mark - place < LOOK_BACK for mark in marks)]
    read = max((tokens(prefixes[place]) for place in seen if prefixes[place] in kept), default=0)
    new = [prefixes[place] for place in marks if tokens(prefixes[place]) >= rules.least]
    kept.update(new)
    return Took(prompt=tokens(prefixes[-1]), read=read, written=max(0, max(map(tokens, new), default=0) - read))


def text_of(request: Request) -> str:
    return "".join(message["content"] for message in request.messages)


def _n_common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


@lru_cache(maxsize=4096)
def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return sum(1 for _ in PIECE.finditer(text))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
