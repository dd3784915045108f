"""Searches scikit-learn's tasks at random, once, and stores what regret is measured by in `references.json`.

python -m benchmarks.quality.tasks.references --draws 500 --seconds 120
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .draws import draws
from .learners import BUILDERS, DATASETS, LEARNERS, REFERENCES, SUITE, cross_validate, direction


def main(arguments: Sequence[str] | None = None) -> None:
    """Search every task that the file does not hold yet with as many draws; write it after each."""
    parser = argparse.ArgumentParser(description="Store best and median of random configurations.")
    parser.add_argument("--draws", type=int, default=500, metavar="N", help="random configurations a task (500)")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="at most so long a task (120)")
    parser.add_argument("--only", default="", metavar="TEXT", help="tasks whose name contains it")
    parser.add_argument("--json", type=Path, default=REFERENCES, metavar="PATH")
    options = parser.parse_args(arguments)
    stored = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
    pairs = [(learner, dataset) for learner in LEARNERS for dataset in DATASETS]
    bar = tqdm(pairs, file=sys.stderr, disable=None)
    for learner, dataset in bar:
        name = f"{SUITE}/{learner}-{dataset}"
        bar.set_description(name)
        if options.only in name and name not in stored:
            stored[name] = search(learner, dataset, options.draws, options.seconds)
            ordered = {task: stored[task] for task in BUILDERS if task in stored}
            options.json.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def search(learner: str, dataset: str, most: int, seconds: float) -> dict[str, Any]:
    """Best and median of at most `most` random configurations, within `seconds`."""
    deadline = time.monotonic() + seconds
    values: list[float] = []
    for params in draws(LEARNERS[learner].space, seed=0, count=most):
        values.append(cross_validate(learner, dataset, params).value)
        if len(values) >= 3 and time.monotonic() > deadline:
            break
    best = min(values) if direction(dataset) == "minimize" else max(values)
    return {"best": best, "median": statistics.median(values), "draws": len(values)}


if __name__ == "__main__":
    main()
