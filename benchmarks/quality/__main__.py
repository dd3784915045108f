"""How good proposals are, beside Optuna's own samplers. Method and findings: README.md beside it.

python -m benchmarks.quality --client local --suite hpobench --methods random,tpe,plain --trials 20 --out results
python -m benchmarks.quality --client openai/gpt-5.4-mini --suite synthetic --workers 4 --out mini

A run that was interrupted, or is given more seeds, tasks or trials, goes on where it stopped: what is finished costs
nothing. What cannot be done here is said before anything is spent, and a line for each cell goes to stderr. Cells that
fail are reported at the end, and the exit code is 1.
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning

from .experiment import BUILDERS, SUITES, Outcome, baseline, clash, experiment, selected, shown, unable, wanted
from .methods import METHODS
from .plot import can_draw, plot
from .report import report

DEFAULT_METHODS: Final = "random,tpe,qmc,cma,menu-no-model,plain,menu,adaptive"


def main(arguments: Sequence[str] | None = None) -> Outcome:
    """Run what is missing; write results, report and pictures."""
    options = _options(arguments)
    drawn = options.plot and can_draw()
    print("\n".join(_beginning(options, drawn=drawn)), file=sys.stderr, flush=True)
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
    if drawn and outcome.measured:
        plot(outcome.measured, options.out / table, failed)
    return outcome


def _beginning(options: argparse.Namespace, *, drawn: bool) -> list[str]:
    """Lines of what is to be done, and of what cannot be done here."""
    lacking = unable(options.methods, model=options.client is not None or options.replay)
    lines = [f"{name} {why.removeprefix('it ')} (the run goes on without it)" for name, why in lacking.items()]
    if options.plot and not drawn:
        lines.append("pictures need matplotlib: pip install matplotlib (the run goes on without them)")
    return [*lines, f"{len(wanted(options))} cells of {options.trials} trials, in {options.out}"]


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
    parser = argparse.ArgumentParser("python -m benchmarks.quality", description="Compare the quality of proposals.")
    parser.add_argument(
        "--client", metavar="MODEL", help="local, local:PATH.gguf, hand:FOLDER, answers:FILE, fake or a LiteLLM string"
    )
    parser.add_argument("--list", action=_List, nargs=0, help="print the names of all tasks and methods, and end")
    parser.add_argument("--suite", action="append", default=[], choices=SUITES, help="repeatable (hpobench)")
    parser.add_argument("--tasks", type=_names, default=[], metavar="NAMES", help="such as hpobench/car,nas/cifar10")
    parser.add_argument("--methods", type=_names, default=_names(DEFAULT_METHODS), metavar="NAMES")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="trials of each cell (20)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of methods that use the model (3)")
    parser.add_argument("--classical-seeds", type=int, default=20, metavar="N", help="seeds of the others (20)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="where seeds begin to count (0)")
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
    if options.first_seed < 0:
        parser.error("--first-seed must be at least 0")
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
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # of this process: whoever calls main() keeps theirs
    logging.getLogger("optuna_llm").setLevel(logging.ERROR)
    sys.exit(main().status)
