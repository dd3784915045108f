"""Where trials fail: the parts of single axes in which failures are far more frequent than elsewhere."""

from dataclasses import dataclass

from ..space.axes import Axes
from ..view.evidence import Evidence, TrialWindow
from .coverage import counts, in_bin

FEWEST = 2
"""Failures below which a part of an axis is not blamed."""

SHARE = 0.6
EXCESS = 2.0
"""How many times more frequent than elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One bin of one axis, with how many of its trials failed."""

    name: str
    bin: int
    failed: int
    trials: int


def risks(evidence: Evidence) -> tuple[Risk, ...]:
    """The bins in which at least `SHARE` of the trials failed, `EXCESS` times as many as in the others; worst first.

    What one bin explains is not blamed on another: its trials are left out of the search for the next one.
    """
    newest, found = evidence.newest, []
    while (worst := _worst(evidence.axes, newest)) is not None:
        found.append(worst)
        column, axis = next((i, a) for i, a in enumerate(evidence.axes.all) if a.name == worst.name)
        newest = newest.only(~in_bin(axis, newest.places[:, column], worst.bin))
    return tuple(found)


def _worst(axes: Axes, newest: TrialWindow) -> Risk | None:
    failed, found = newest.failed, []
    if int(failed.sum()) < FEWEST:
        return None
    for column, axis in enumerate(axes.all):
        places = newest.places[:, column]
        bad, tried = counts(axis, places[failed]), counts(axis, places)
        for index, (failures, trials) in enumerate(zip(bad, tried, strict=True)):
            others, elsewhere = sum(bad) - failures, sum(tried) - trials
            usual = others / elsewhere if elsewhere else 1.0
            if failures >= FEWEST and failures >= SHARE * trials and failures / trials >= EXCESS * usual:
                found.append(Risk(name=axis.name, bin=index, failed=failures, trials=trials))
    return max(found, key=lambda risk: (risk.failed / risk.trials, risk.failed), default=None)
