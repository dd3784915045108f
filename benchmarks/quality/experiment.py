"""An experiment: its cells, which of them can run here, and what came of them."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from optuna_llm import Client
from optuna_llm.samplers.client.resolve import resolve

from . import cells
from .by_hand import answers_client, hand_client
from .cells import Cell, Setup
from .measures import Measured
from .methods import METHODS, drawing_client
from .tasks import invented, learners, synthetic, systems, tables
from .tasks.task import Task

BUILDERS: Final[Mapping[str, Callable[[], Task]]] = {
    **tables.BUILDERS,
    **learners.BUILDERS,
    **synthetic.BUILDERS,
    **invented.BUILDERS,
    **systems.BUILDERS,
}
SUITES: Final = tuple(dict.fromkeys(name.split("/")[0] for name in BUILDERS))
FAKE: Final = "fake"
HAND: Final = "hand:"
ANSWERS: Final = "answers:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an experiment came to; `failures` says why a method, or a cell, was not measured whole or `failed`."""

    measured: Sequence[Measured]
    failed: Sequence[Cell]
    failures: Mapping[str, str]
    evaluated: int

    @property
    def status(self) -> int:
        """Exit code: 1 if a cell failed."""
        return 1 if self.failed else 0


def experiment(options: argparse.Namespace) -> Outcome:
    """Every cell in turn, one task after the other, each with a line on stderr when it ends.

    A cell that fails does not hold up the others.
    """
    setup = Setup(
        out=options.out,
        trials=options.trials,
        workers=options.workers,
        client=None if options.client is None or options.replay else clients_of(options.client),
        replay=options.replay,
        rationale=options.rationale,
    )
    failures = unable(options.methods, model=options.client is not None or options.replay)
    measured: list[Measured] = []
    failed: list[Cell] = []
    evaluated = 0
    task: Task | None = None
    with tqdm(wanted(options), file=sys.stderr, disable=None, unit="cell") as bar:
        for cell in bar:
            bar.set_description(str(cell))
            try:
                found = cells.known(cell, options.out)
                if found is None or len(found.values) != options.trials:
                    if task is None or task.name != cell.task:
                        task = BUILDERS[cell.task]()
                    found = cells.run(cell, task, setup)
                    evaluated += 1
                measured.append(found)
                bar.write(line_of(cell, found), file=sys.stderr)
                if len(found.values) < options.trials:
                    failures[str(cell)] = f"it ended after {len(found.values)} of {options.trials} trials"
            except Exception as error:
                failed.append(cell)
                failures[str(cell)] = f"{type(error).__name__}: {error}"
                bar.write(f"{cell}: failed, {failures[str(cell)]}", file=sys.stderr)
    return Outcome(measured=measured, failed=failed, failures=failures, evaluated=evaluated)


def line_of(cell: Cell, found: Measured) -> str:
    """What is said of a cell when it ends: nobody is to think that a run of hours hangs."""
    best = next((value for value in reversed(found.best) if value is not None), None)
    return f"{cell}: {len(found.values)} trials, best {'none' if best is None else f'{best:.4g}'}"


def wanted(options: argparse.Namespace) -> list[Cell]:
    """The cells of the methods that can run here."""
    lacking = unable(options.methods, model=options.client is not None or options.replay)
    return [
        Cell(task=task, method=method, seed=seed, first=options.first)
        for task in options.tasks
        for method in options.methods
        if method not in lacking
        for seed in range(
            options.first_seed,
            options.first_seed + (options.seeds if METHODS[method].model else options.classical_seeds),
        )
    ]


def unable(names: Sequence[str], *, model: bool) -> dict[str, str]:
    """The methods that cannot run here, and why."""
    lacks = {name: METHODS[name].lacks() for name in names}
    lacks |= {name: "it needs a model: --client" for name in names if METHODS[name].model and not model}
    return {name: why for name, why in lacks.items() if why}


def baseline(methods: Sequence[str]) -> str | None:
    """The method that is compared with the others: adaptive, else the first one that uses the model."""
    if "adaptive" in methods:
        return "adaptive"
    return next((method for method in methods if METHODS[method].model), next(iter(methods), None))


def clients_of(name: str) -> Callable[[int], Client]:
    """The model of the methods that use one, for each seed; "fake" draws from the schema, for trying things out.

    "hand:FOLDER" is answered through a folder, by whoever runs `by_hand` there, "answers:FILE" by what was answered.
    """
    if name == FAKE:
        return drawing_client
    if name.startswith(ANSWERS):
        return lambda seed: answers_client(name.removeprefix(ANSWERS))
    client: Client = hand_client(name.removeprefix(HAND)) if name.startswith(HAND) else resolve(name)
    return lambda seed: client


def shown(client: str | None) -> str | None:
    """How a client is named in results: no folder of this machine."""
    kind, colon, path = (client or "").partition(":")
    return f"{kind}:{Path(path).name}" if colon and kind in ("local", "hand", "answers") else client


def clash(options: argparse.Namespace) -> str | None:
    """Why the cells under --out are no part of this experiment; notes what they are if there are none."""
    path: Path = options.out / "settings.json"
    client = shown(options.client)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    asked = {"client": client, "workers": options.workers, "rationale": options.rationale}
    for name, value in asked.items():
        before = found.get(name)
        if value is not None and before is not None and value != before:
            return f"{options.out} holds cells with {name} {before}: choose another --out for {name} {value}"
    finished = [measured for cell in wanted(options) if (measured := cells.known(cell, options.out))]
    longest = max((len(measured.values) for measured in finished), default=0)
    if longest > options.trials:
        return f"{options.out} holds cells of {longest} trials: choose another --out for --trials {options.trials}"
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found | {k: v for k, v in asked.items() if v is not None}) + "\n", encoding="utf-8")
    return None


def selected(suites: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Names of the tasks of the suites, and those named."""
    return [name for name in BUILDERS if name.split("/")[0] in suites or name in tasks]
