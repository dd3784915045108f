"""How good proposals are, beside Optuna's own samplers. Method and findings: README.md beside it.

python benchmarks/quality.py --client local --suite hpobench --methods random,tpe,plain --trials 20 --out results
python benchmarks/quality.py --client openai/gpt-5-mini --suite synthetic --workers 4 --out mini

A run that was interrupted, or is given more seeds, tasks or trials, goes on where it stopped: what is finished costs
nothing. Cells that fail are reported at the end, and the exit code is 1.
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cells
import learners
import optuna
import synthetic
import tables
from cells import Cell, Setup
from measures import Measured
from methods import METHODS, drawing_client
from optuna.exceptions import ExperimentalWarning
from quality_plot import plot
from quality_report import report
from tasks import Task
from tqdm import tqdm

from optuna_llm import Client
from optuna_llm.samplers.client.resolve import resolve

BUILDERS: Final[Mapping[str, Callable[[], Task]]] = {**tables.BUILDERS, **learners.BUILDERS, **synthetic.BUILDERS}
SUITES: Final = tuple(dict.fromkeys(name.split("/")[0] for name in BUILDERS))
DEFAULT_METHODS: Final = "random,tpe,qmc,cma,menu-no-model,plain,guided,menu,adaptive"
FAKE: Final = "fake"


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


def main(arguments: Sequence[str] | None = None) -> Outcome:
    """Run what is missing; write results, report and pictures."""
    options = _options(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna_llm").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        outcome = experiment(options)
    table = "first" if options.first else "no-first"
    lines = [json.dumps(cell.record()) for cell in outcome.measured]
    (options.out / f"results-{table}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    heading = (
        f"Proposal quality: {options.trials} trials, {options.workers} at once, {shown(options.client) or 'no model'}"
    )
    failed = [(cell.task, cell.method, cell.seed) for cell in outcome.failed]
    text = report(
        outcome.measured,
        baseline=baseline([cell.method for cell in outcome.measured]),
        heading=heading if options.first else f"{heading}, no common first configuration",
        failures=outcome.failures,
        failed=failed,
    )
    (options.out / f"report-{table}.md").write_text(text, encoding="utf-8")
    print(text)
    if options.plot and outcome.measured:
        plot(outcome.measured, options.out / table, failed)
    return outcome


def experiment(options: argparse.Namespace) -> Outcome:
    """Every cell in turn, one task after the other; a cell that fails does not hold up the others."""
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
                if len(found.values) < options.trials:
                    failures[str(cell)] = f"it ended after {len(found.values)} of {options.trials} trials"
            except Exception as error:
                failed.append(cell)
                failures[str(cell)] = f"{type(error).__name__}: {error}"
    return Outcome(measured=measured, failed=failed, failures=failures, evaluated=evaluated)


def wanted(options: argparse.Namespace) -> list[Cell]:
    """The cells of the methods that can run here."""
    lacking = unable(options.methods, model=options.client is not None or options.replay)
    return [
        Cell(task=task, method=method, seed=seed, first=options.first)
        for task in options.tasks
        for method in options.methods
        if method not in lacking
        for seed in range(options.seeds if METHODS[method].model else options.classical_seeds)
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
    """The model of the methods that use one, for each seed; "fake" draws from the schema, for trying things out."""
    if name == FAKE:
        return drawing_client
    client = resolve(name)
    return lambda seed: client


def shown(client: str | None) -> str | None:
    """How a client is named in results: no folder of this machine."""
    if client is None or not client.startswith("local:"):
        return client
    return f"local:{Path(client.partition(':')[2]).name}"


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


class _List(argparse.Action):
    """Prints what there is, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        lines = [f"task {name}" for name in BUILDERS]
        lines += [f"method {name}" + (f" ({why})" if (why := kind.lacks()) else "") for name, kind in METHODS.items()]
        print("\n".join(lines))
        parser.exit()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the quality of proposals.")
    parser.add_argument("--client", metavar="MODEL", help="local, local:PATH.gguf, fake, or a LiteLLM model string")
    parser.add_argument("--list", action=_List, nargs=0, help="print the names of all tasks and methods, and end")
    parser.add_argument("--suite", action="append", default=[], choices=SUITES, help="repeatable (hpobench)")
    parser.add_argument("--tasks", type=_names, default=[], metavar="NAMES", help="such as hpobench/car,nas/cifar10")
    parser.add_argument("--methods", type=_names, default=_names(DEFAULT_METHODS), metavar="NAMES")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="trials of each cell (20)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of methods that use the model (3)")
    parser.add_argument("--classical-seeds", type=int, default=20, metavar="N", help="seeds of the others (20)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="evaluations at once, simulated (1)")
    parser.add_argument("--no-rationale", dest="rationale", action="store_false", help="the model does not say why")
    parser.add_argument("--no-first", dest="first", action="store_false", help="no common first configuration")
    parser.add_argument("--replay", action="store_true", help="take replies from the recordings under --out")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="no pictures (they need matplotlib)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="studies, recordings and results")
    options = parser.parse_args(arguments)
    for name in ("trials", "seeds", "classical_seeds", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    for kind, names, known in (("method", options.methods, METHODS), ("task", options.tasks, BUILDERS)):
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"no {kind} {', '.join(unknown)}: there are {', '.join(known)}")
    if not options.suite and not options.tasks:
        options.suite = ["hpobench"]
    options.tasks = selected(options.suite, options.tasks)
    if why := clash(options):
        parser.error(why)
    return options


if __name__ == "__main__":
    sys.exit(main().status)
