"""A task made for this project: a function with its space and its words, and what its regret is measured by."""

import json
import statistics
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from optuna.distributions import BaseDistribution

from .draws import draws
from .task import Direction, Evaluation, Params, Reference, Task

DRAWS: Final = 200  # random configurations behind a median: its error is some hundredths of the spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Invention:
    """A function with its space and its words; `best` is known, or None where a search must say."""

    function: Callable[[Params], float]
    space: Mapping[str, BaseDistribution]
    direction: Direction
    best: float | None = None
    text: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


def search(inventions: Mapping[str, Invention], references: Path) -> None:
    """Write best and median of random configurations of each invention."""
    found = {}
    for name, invention in inventions.items():
        values = [invention.function(params) for params in draws(invention.space, seed=0, count=DRAWS)]
        best = min(values) if invention.direction == "minimize" else max(values)
        found[name] = {"best": best, "median": statistics.median(values)}
    references.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def builders(suite: str, inventions: Mapping[str, Invention], references: Path) -> Mapping[str, Callable[[], Task]]:
    """What makes each task of a suite, by its name; `references` is read when a task is made."""
    return {
        f"{suite}/{name}": partial(_task, suite, name, invention, references) for name, invention in inventions.items()
    }


def _task(suite: str, name: str, invention: Invention, references: Path) -> Task:
    stored = json.loads(references.read_text(encoding="utf-8"))[name]
    return Task(
        name=f"{suite}/{name}",
        suite=suite,
        space=invention.space,
        direction=invention.direction,
        evaluate=partial(_evaluate, invention.function),
        text=invention.text,
        parameters=invention.words,
        reference=Reference(best=stored["best"] if invention.best is None else invention.best, median=stored["median"]),
    )


def _evaluate(function: Callable[[Params], float], params: Params) -> Evaluation:
    """The metric, and made-up seconds between 5 and 15 that follow from the configuration."""
    share = zlib.crc32(repr(sorted(params.items())).encode()) / 2**32
    return Evaluation(value=function(params), seconds=5.0 + 10.0 * share)
