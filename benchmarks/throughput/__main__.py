"""How close runs come to what the latencies, the CPU and the storage allow. Method and findings: README.md beside it.

python -m benchmarks.throughput --quick
python -m benchmarks.throughput --only memory --only journal --repeats 3 --plot ratios.png
"""

import argparse
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning

from .cases import CASES, SLOW_TO_FILL, Case, Scale
from .plot import plot
from .results import Result, table

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Measure, print the table, write the JSON and the plot."""
    options = _options(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    scale = Scale(repeats=options.repeats or (1 if options.quick else 5), quick=options.quick)
    results = list(measured(selected(options.only, quick=options.quick), scale))
    print(table(results))
    print("Requests and tokens per minute are not limited here: their limits are infinite rates.")
    if scale.quick:
        print("Quick: latencies are ten times smaller, so ratios are lower and have no targets.")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document(results, scale), indent=2) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot(results, options.plot)
    return results


def selected(only: Sequence[str], *, quick: bool) -> list[Case]:
    """The cases whose name begins with one of `only`; quick runs leave out long histories unless they are named."""
    if only:
        return [case for case in CASES if case.name.startswith(tuple(only))]
    return [case for case in CASES if not (quick and case.name in SLOW_TO_FILL)]


def measured(cases: Sequence[Case], scale: Scale) -> Iterator[Result]:
    """The lines of each case in turn; says which one it is at, and which it leaves out for want of a package."""
    for number, case in enumerate(cases, start=1):
        left_out = "" if case.missing is None else f": left out, it needs `pip install {case.missing}`"
        print(f"[{number}/{len(cases)}] {case.name}{left_out}", file=sys.stderr, flush=True)
        if not left_out:
            yield from case.measure(scale)


def document(results: Sequence[Result], scale: Scale) -> dict[str, object]:
    """What is written as JSON."""
    return {
        "schema_version": 1,
        "quick": scale.quick,
        "repeats": scale.repeats,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in ("optuna", "anyio", "optuna-llm")},
        "results": [asdict(result) | {"met": result.met} for result in results],
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.throughput", description="Measure throughput against its limits."
    )
    parser.add_argument("--quick", action="store_true", help="under a minute: small latencies, one repeat")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="cases whose name begins so")
    parser.add_argument("--repeats", type=int, metavar="N", help="runs of each case (5)")
    parser.add_argument("--json", type=Path, default=RESULTS / "throughput.json", metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="a PNG; needs matplotlib")
    options = parser.parse_args(arguments)
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if not selected(options.only, quick=options.quick):
        parser.error(f"no case begins with {options.only}: there are {', '.join(case.name for case in CASES)}")
    return options


if __name__ == "__main__":
    main()
