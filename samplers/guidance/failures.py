"""Where trials fail: the parts of single axes in which failures are far more frequent than elsewhere."""

from dataclasses import dataclass

import numpy as np

from .coverage import counts
from .evidence import Evidence

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
    """The bins in which at least `SHARE` of the trials failed, `EXCESS` times as many as in the others; worst first."""
    failed, places = evidence.newest.failed, evidence.newest.places
    if int(failed.sum()) < FEWEST:
        return ()
    found = []
    for column, axis in enumerate(evidence.axes.all):
        known = np.isfinite(places[:, column])
        bad = counts(axis, places[failed, column])
        tried = counts(axis, places[:, column])
        for index, (failures, trials) in enumerate(zip(bad, tried, strict=True)):
            others, elsewhere = int((failed & known).sum()) - failures, int(known.sum()) - trials
            usual = others / elsewhere if elsewhere else 1.0
            if failures >= FEWEST and failures >= SHARE * trials and failures / trials >= EXCESS * usual:
                found.append(Risk(name=axis.name, bin=index, failed=failures, trials=trials))
    return tuple(sorted(found, key=lambda risk: (-risk.failed / risk.trials, -risk.failed)))
