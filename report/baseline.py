"""What a random search has after so many trials, from a study that is one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from optuna.study import Study

from ..engine.errors import UsageError
from ..engine.table import rows_of
from .findings import counts_as_result

BAND_POINTS: Final = 200  # of a curve: more are not seen


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinePoint:
    """The best of `trials` random trials: in one case of ten it is worse than `low`, in one better than `high`.

    None where so few trials have no result in that share of cases.
    """

    trials: int
    low: float | None
    median: float | None
    high: float | None


def baseline_of(study: Study, baseline: Study) -> list[BaselinePoint]:
    """Say what a random search has, over all orders in which its finished trials might have come.

    This is exact for a search whose trials know nothing of each other. Raises `UsageError` where `baseline` optimizes
    in another direction.
    """
    if study.directions != baseline.directions:
        raise UsageError("the baseline has another direction than the study")
    rows = [row for row in rows_of(baseline) if row["datetime_complete"]]
    maximize = baseline.direction.name == "MAXIMIZE"
    ranked = sorted((float(row["value"]) for row in rows if counts_as_result(row)), reverse=maximize)
    return list(best_of_draws(ranked, len(rows)))


def best_of_draws(ranked: Sequence[float], n: int) -> Iterator[BaselinePoint]:
    """The best of k draws without replacement out of `n` trials, of which these have results, best first."""
    step = max(1, n // BAND_POINTS)
    for k in range(1, n + 1, step):
        low, median, high = (_quantile(ranked, n, k, share) for share in (0.9, 0.5, 0.1))
        yield BaselinePoint(trials=k, low=low, median=median, high=high)


def _quantile(ranked: Sequence[float], n: int, k: int, share: float) -> float | None:
    """The value that the best of `k` draws reaches with a probability of `share`."""
    missed = 1.0  # the probability that none of the ranks so far is drawn
    for rank, value in enumerate(ranked):
        missed *= max(0.0, 1.0 - k / (n - rank))
        if 1.0 - missed >= share - 1e-12:
            return value
    return None
