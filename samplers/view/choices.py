"""What came of each choice of the parameters that have choices, over all finished trials."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..space.axes import Axes


@dataclass(slots=True)
class ChoiceRecord:
    """The trials that had one choice: how many, how many failed or violated a constraint, and all `losses`, sorted."""

    trials: int = 0
    failed: int = 0
    infeasible: int = 0
    losses: list[float] = field(default_factory=list)

    @property
    def best(self) -> float | None:
        """The lowest loss, None without any."""
        return self.losses[0] if self.losses else None


class ChoiceRecords:
    """A record for each choice of each axis that has choices; trials are added, and removed as they were added."""

    def __init__(self, axes: Axes) -> None:
        self._of = {c: [ChoiceRecord() for _ in axis.choices] for c, axis in enumerate(axes.all) if axis.choices}

    def of(self, column: int) -> Sequence[ChoiceRecord]:
        """The records of one axis, in the order of its choices."""
        return self._of[column]

    def add(self, places: Sequence[float], loss: float, *, failed: bool, infeasible: bool) -> None:
        """Take in a trial with these places; `loss` is NaN for one that gave none, or whose value does not count."""
        for record in self._met(places):
            record.trials += 1
            record.failed += failed
            record.infeasible += infeasible
            if not math.isnan(loss):
                bisect.insort(record.losses, loss)

    def remove(self, places: Sequence[float], loss: float, *, failed: bool, infeasible: bool) -> None:
        """Take back what was added."""
        for record in self._met(places):
            record.trials -= 1
            record.failed -= failed
            record.infeasible -= infeasible
            if not math.isnan(loss):
                del record.losses[bisect.bisect_left(record.losses, loss)]

    def _met(self, places: Sequence[float]) -> list[ChoiceRecord]:
        met = ((records, places[column]) for column, records in self._of.items())
        return [records[int(place)] for records, place in met if not math.isnan(place)]
