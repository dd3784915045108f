"""The comparison in Markdown."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from .comparison import (
    Key,
    Paired,
    Regrets,
    common_tasks,
    mean_ranks,
    methods_of,
    overall,
    paired,
    penalised,
    shared,
    task_means,
)
from .measures import CHECKPOINTS, Measured

METHOD: Final = """
Normalised regret is |best so far - best| / |median of random configurations - best|, 0 at the best known value and 1
at the median of random configurations; lower is better. A table's best and median are those of the whole table; those
of scikit-learn's tasks come from a random search that was run once. A method's number is the mean over tasks of the
mean over its seeds, over the tasks that all methods have.

A cell that ended early keeps its best. One without a value so far, with an infinite regret, or whose run failed counts
as the worst regret of any cell of its task at that point, so that no method gains by a seed that failed; a method whose
runs all failed on a task does not have that task.
"""
RANK: Final = """
Within each task the methods are ranked by their mean regret over seeds (1 is best, equal values share the mean of
their ranks); the table holds the mean rank over tasks.
"""
SAME: Final = """
Methods whose replies cost something have fewer seeds. The tables above take all seeds of each method; these take only
those seeds of a task that all methods have, on which every method began with the same configuration (if there is a
common one): fairer to each pair of methods, and less certain of each method.
"""
PAIRS: Final = """
Pairs are cells of the same task and seed. Differences below zero favour the first method; their mean is that over
tasks of the means over seeds. The interval is a 95 % percentile bootstrap in two stages, tasks and then seeds within
each, so that it speaks of other tasks like these (with one task, of other seeds only). Both p are of Wilcoxon's
signed-rank test (two-sided, zeros after Pratt): "p, pairs" takes all pairs as independent, which those of one task are
not, so that it is too small; "p, tasks" takes one mean difference for each task, and cannot be below 0.03 with fewer
than 7 tasks. Neither is corrected for the number of comparisons.
"""
SHARES: Final = """
Sums over the cells of a method, and shares: "duplicates" of trials that repeat an earlier one, "near in flight" of
proposals made while others ran that are within 5 % of one of those in every float and equal elsewhere, "repaired" of
proposals of which something had to be clamped or snapped. "Invalid" are proposals that were given up after their
re-asks. "Seconds" are the mean simulated wall-clock of a cell.
"""


def regrets_at(measured: Sequence[Measured], checkpoint: int, failed: Collection[Key] = ()) -> Regrets:
    """Regret of every cell, and of those that failed although their method has another one on that task."""
    found = {(cell.task, cell.method, cell.seed): cell.at(checkpoint) for cell in measured}
    had = {(cell.task, cell.method) for cell in measured}
    return penalised(found | {key: None for key in failed if key[:2] in had})


def checkpoints_of(measured: Sequence[Measured]) -> list[int]:
    """The checkpoints that the longest cell reaches, and its end."""
    longest = max((len(cell.values) for cell in measured), default=0)
    return sorted(
        {*(checkpoint for checkpoint in CHECKPOINTS if checkpoint < longest), *([longest] if longest else [])}
    )


def report(
    measured: Sequence[Measured],
    *,
    baseline: str | None,
    heading: str,
    failures: Mapping[str, str],
    failed: Collection[Key] = (),
) -> str:
    """The whole document; `baseline` is compared with every other method, `failed` are cells without measures."""
    points = checkpoints_of(measured)
    by_point = {point: regrets_at(measured, point, failed) for point in points}
    parts = [f"# {heading}", METHOD]
    if points:
        last = points[-1]
        parts += [
            "## Mean normalised regret",
            _by_checkpoint(by_point, overall, 3),
            "## Mean rank",
            RANK,
            _by_checkpoint(by_point, mean_ranks, 2),
            *_on_same_seeds(by_point),
            *(_compared(by_point[last], baseline, last) if baseline else ()),
            "## What asking took",
            SHARES,
            _shares(measured),
            f"## Mean normalised regret by task, after {last} trials",
            _by_task(by_point[last]),
        ]
    if failures:
        parts += ["## Not measured", "\n".join(f"- {name}: {why}" for name, why in failures.items())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _by_checkpoint(
    by_point: Mapping[int, Regrets], statistic: Callable[[Regrets], Mapping[str, float]], digits: int
) -> str:
    columns = {point: statistic(regrets) for point, regrets in by_point.items()}
    last = columns[max(columns)]
    methods = list(dict.fromkeys(method for regrets in by_point.values() for method in methods_of(regrets)))
    methods.sort(key=lambda method: last.get(method, float("inf")))
    rows = [[method, *(number(column.get(method), digits) for column in columns.values())] for method in methods]
    return table([f"over {_extent(by_point[max(by_point)])}, after trials", *map(str, columns)], rows)


def _extent(regrets: Regrets) -> str:
    """How many tasks, and how many seeds each method has on one."""
    tasks = common_tasks(regrets)
    seeds = Counter((task, method) for task, method, _ in regrets if task in tasks).values()
    fewest, most = min(seeds, default=0), max(seeds, default=0)
    return f"{len(tasks)} {_plural('task', len(tasks))}, {_range(fewest, most)} {_plural('seed', most)} of each"


def _range(fewest: int, most: int) -> str:
    return str(most) if fewest == most else f"{fewest} to {most}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _on_same_seeds(by_point: Mapping[int, Regrets]) -> list[str]:
    """Means and ranks once more, if methods have different seeds and some in common."""
    same = {point: shared(regrets) for point, regrets in by_point.items()}
    last = max(by_point)
    if not same[last] or same[last].keys() == {key for key in by_point[last] if key[0] in common_tasks(by_point[last])}:
        return []
    means, mean_rank = _by_checkpoint(same, overall, 3), _by_checkpoint(same, mean_ranks, 2)
    return ["## On the same seeds", SAME, "Mean normalised regret:", means, "Mean rank:", mean_rank]


def _compared(regrets: Regrets, baseline: str, point: int) -> list[str]:
    others = [method for method in methods_of(regrets) if method != baseline]
    if not others:
        return []
    rows = [_pair(paired(regrets, baseline, other)) for other in others]
    header = ["against", "tasks", "pairs", "better", "worse", "mean difference", "95 % interval"]
    header += ["p, pairs", "p, tasks"]
    return [f"## {baseline} against the others, after {point} trials", PAIRS, table(header, rows)]


def _pair(found: Paired) -> list[str]:
    between = found.difference
    interval = "-" if between is None else f"{between.low:+.3f} to {between.high:+.3f}"
    mean = "-" if between is None else f"{between.mean:+.3f}"
    counts = map(str, (found.tasks, found.pairs, found.wins, found.losses))
    tests = ("-" if p is None else f"{p:.2g}" for p in (found.p, found.p_tasks))
    return [found.second, *counts, mean, interval, *tests]


def _shares(measured: Sequence[Measured]) -> str:
    header = ["method", "cells", "trials", "duplicates", "near in flight", "repaired", "invalid", "calls", "re-asks"]
    header += ["prompt tokens", "of them cached", "completion tokens", "US dollars", "latency, s", "seconds"]
    methods = list(dict.fromkeys(cell.method for cell in measured))
    return table(header, [_share_row(method, [c for c in measured if c.method == method]) for method in methods])


def _share_row(method: str, cells: Sequence[Measured]) -> list[str]:
    trials = sum(len(cell.values) for cell in cells)
    repeated = sum(cell.duplicates for cell in cells) / trials if trials else None
    spent = {name: _sum([cell.spent[name] for cell in cells]) for name in cells[0].spent}
    tokens = ("calls", "reasks", "prompt_tokens", "cached_tokens", "completion_tokens")
    return [
        method,
        str(len(cells)),
        str(trials),
        number(repeated),
        number(_mean([cell.near_in_flight for cell in cells])),
        number(_mean([cell.repaired for cell in cells])),
        str(sum(cell.invalid for cell in cells)),
        *(number(spent[name], 0) for name in tokens),
        number(spent["cost"], 4),
        number(spent["latency"], 1),
        number(_mean([cell.seconds for cell in cells]), 0),
    ]


def _sum(values: Sequence[float | None]) -> float | None:
    """Unknown as soon as one is."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _by_task(regrets: Regrets) -> str:
    means, methods = task_means(regrets), methods_of(regrets)
    rows = [[task, *(number(values.get(method)) for method in methods)] for task, values in means.items()]
    return table(["task", *methods], rows)
