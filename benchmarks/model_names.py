"""Lists the models that our own pages and scripts name, and which of them a reader could not ask for much longer.

`python -m benchmarks.model_names` (`make release-check`) reads the names in README, docs, examples and sources, and
looks them up in the table of LiteLLM that is installed. It exits with 1 if the table does not know one, or says that
its provider retires it within `NOTICE_DAYS`.
"""

import datetime as dt
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optuna_llm.samplers.client.library import load
from optuna_llm.samplers.client.pricing.table import entry_of, priced_name

Table = Mapping[str, Mapping[str, Any]]

ROOT: Final = Path(__file__).resolve().parents[1]
PLACES: Final = ("*.md", "docs/**/*.md", "examples/*.py", "engine/**/*.py", "samplers/**/*.py", "benchmarks/**/*")
SUFFIXES: Final = (".md", ".py")
# What was true of a release stays true of it.
HISTORY: Final = ("CHANGELOG.md",)

# A release is read for about so long before the next one.
NOTICE_DAYS: Final = 90

# Providers whose models run on a server of the reader's own: nobody retires them.
HOSTED: Final = (
    "anthropic",
    "azure",
    "deepseek",
    "gemini",
    "groq",
    "mistral",
    "openai",
    "openrouter",
    "vertex_ai",
    "xai",
)
# Names that stand for no model: a server of one's own, LiteLLM's own warming up, the beginning of many names.
STANDING_FOR: Final = ("openai/local", "openai/warm-up", "vertex_ai/gemini")
PLACEHOLDER: Final = "/MODEL"  # for whatever the reader puts there

_NAME: Final = re.compile(rf"(?<![\w/.-])(?:{'|'.join(HOSTED)})/[A-Za-z0-9][\w.:/-]*[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model that a file names."""

    model: str
    path: str
    line: int


def names_in(text: str, path: str) -> Iterator[Named]:
    """The hosted models that a text names, in quotes, code or prose; addresses of pages are none."""
    for number, line in enumerate(text.splitlines(), start=1):
        for found in _NAME.finditer(line):
            if found[0] not in STANDING_FOR and not found[0].endswith(PLACEHOLDER):
                yield Named(model=found[0], path=path, line=number)


def problem_of(model: str, table: Table, today: dt.date) -> str | None:
    """Why a reader could not ask for a model before long, None if nothing is known against it."""
    name = priced_name(model, table)
    if name is None:
        return "LiteLLM's table does not know it"
    entry = entry_of(name, table)
    date = entry.get("deprecation_date")
    if date is None or (dt.date.fromisoformat(date) - today).days > NOTICE_DAYS:
        return None
    successor = entry.get("successor_model")
    return f"its provider retires it on {date}" + (f" in favour of {successor}" if successor else "")


def problems(named: Iterable[Named], table: Table, today: dt.date) -> list[str]:
    """One line for each name that is to change."""
    found = ((name, problem_of(name.model, table, today)) for name in named)
    return [f"{name.path}:{name.line}: {name.model}: {problem}" for name, problem in found if problem]


def named_here(root: Path = ROOT) -> list[Named]:
    """All names in the project's pages and scripts."""
    paths = sorted({path for place in PLACES for path in root.glob(place) if path.suffix in SUFFIXES})
    here = [(path, path.relative_to(root).as_posix()) for path in paths]
    return [
        name
        for path, relative in here
        if relative not in HISTORY
        for name in names_in(path.read_text("utf-8"), relative)
    ]


def main() -> int:
    """Print what is to change; return the exit code."""
    named = named_here()
    lines = problems(named, load().model_cost, dt.datetime.now(dt.UTC).date())
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{len({name.model for name in named})} models are named in {len(named)} places; {len(lines)} are to change")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
