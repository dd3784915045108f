"""Statistics over cells: means, ranks, and the paired comparison of two methods. Pure; lower regret is better."""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scipy import stats

RESAMPLES: Final = 5000

Key = tuple[str, str, int]
"""Task, method and seed."""
Regrets = Mapping[Key, float]
"""Normalised regret at one checkpoint, finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean, and the 95 % interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One method against another over the (task, seed) pairs that both have. Negative differences favour the first.

    `difference` is the mean over tasks of the means over their pairs. `p` and `p_tasks` are the two-sided ones of
    Wilcoxon's signed-rank test, over pairs (as if those of one task were independent) and over the tasks' means; None
    with no pair, 1 if all are equal.
    """

    first: str
    second: str
    tasks: int
    pairs: int
    wins: int
    losses: int
    difference: Interval | None
    p: float | None
    p_tasks: float | None


def methods_of(regrets: Regrets) -> list[str]:
    return list(dict.fromkeys(method for _, method, _ in regrets))


def penalised(regrets: Mapping[Key, float | None]) -> Regrets:
    """What is not known, or not finite, is as bad as the worst that is, of any method on that task.

    A method whose study failed must not look better for it. A task of which nothing is known is left out.
    """
    known = {key: value for key, value in regrets.items() if value is not None and math.isfinite(value)}
    worst: dict[str, float] = {}
    for (task, _, _), value in known.items():
        worst[task] = max(value, worst.get(task, value))
    return {key: known.get(key, worst[key[0]]) for key in regrets if key[0] in worst}


def task_means(regrets: Regrets) -> dict[str, dict[str, float]]:
    """Mean over seeds, by task and method."""
    found: dict[str, dict[str, list[float]]] = {}
    for (task, method, _), value in regrets.items():
        found.setdefault(task, {}).setdefault(method, []).append(value)
    return {
        task: {method: statistics.fmean(values) for method, values in methods.items()}
        for task, methods in found.items()
    }


def common_tasks(regrets: Regrets) -> list[str]:
    """The tasks on which every method has at least one seed."""
    wanted = set(methods_of(regrets))
    return [task for task, methods in task_means(regrets).items() if methods.keys() == wanted]


def shared(regrets: Regrets) -> Regrets:
    """The cells of those seeds of each task that every method has."""
    wanted = set(methods_of(regrets))
    having: dict[tuple[str, int], set[str]] = {}
    for task, method, seed in regrets:
        having.setdefault((task, seed), set()).add(method)
    return {key: value for key, value in regrets.items() if having[key[0], key[2]] == wanted}


def overall(regrets: Regrets) -> dict[str, float]:
    """Mean over the common tasks of the mean over seeds: each task counts alike, however many seeds it has."""
    means, tasks = task_means(regrets), common_tasks(regrets)
    return {method: statistics.fmean(means[task][method] for task in tasks) for method in methods_of(regrets) if tasks}


def ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Rank of each method, 1 for the lowest; equal values share the mean of their ranks."""
    return dict(zip(values, map(float, stats.rankdata(list(values.values()))), strict=True))


def mean_ranks(regrets: Regrets) -> dict[str, float]:
    """Mean over the common tasks of the rank that a method's mean over seeds has among all methods there."""
    means, tasks = task_means(regrets), common_tasks(regrets)
    ranked = [ranks(means[task]) for task in tasks]
    return {method: statistics.fmean(rank[method] for rank in ranked) for method in methods_of(regrets) if ranked}


def paired(regrets: Regrets, first: str, second: str) -> Paired:
    """The first method against the second one over the pairs that both have."""
    by_task: dict[str, list[float]] = {}
    for task, method, seed in regrets:
        if method == first and (task, second, seed) in regrets:
            difference = regrets[task, first, seed] - regrets[task, second, seed]
            by_task.setdefault(task, []).append(difference)
    groups = list(by_task.values())
    differences = [difference for group in groups for difference in group]
    return Paired(
        first=first,
        second=second,
        tasks=len(groups),
        pairs=len(differences),
        wins=sum(difference < 0 for difference in differences),
        losses=sum(difference > 0 for difference in differences),
        difference=bootstrap(groups) if groups else None,
        p=wilcoxon(differences) if groups else None,
        p_tasks=wilcoxon([statistics.fmean(group) for group in groups]) if groups else None,
    )


def bootstrap(groups: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of the groups' means, with the percentile interval of resamples in two stages.

    Groups are drawn with replacement, then as many values within each of them (Davison and Hinkley, Bootstrap Methods,
    1997, section 3.8), so that a group counts once however many values it has. With one group only its values vary.
    """
    rng = random.Random(seed)

    def resample() -> float:
        drawn = rng.choices(groups, k=len(groups))
        return statistics.fmean(statistics.fmean(rng.choices(group, k=len(group))) for group in drawn)

    means = sorted(resample() for _ in range(resamples))
    tail = round(0.025 * (resamples - 1))
    mean = statistics.fmean(statistics.fmean(group) for group in groups)
    return Interval(mean=mean, low=means[tail], high=means[-1 - tail])


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test; differences of zero count as Pratt proposes."""
    if not any(differences):
        return 1.0
    p = float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    return 1.0 if math.isnan(p) else p
