"""The places that a study has within `total_trials`, which all who work on it share.

Trial numbers are handed out in one order by every storage, so they are tickets: a trial runs if fewer than the total
of those with smaller numbers are COMPLETE, PRUNED, RUNNING or WAITING. However many processes look at once, no more
than the total can then ever be COMPLETE or PRUNED.
"""

import math
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from ..study.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Room for one more trial, set aside for one candidate; `left` are the free places with it, None without end."""

    left: int | None = None


class Places:
    """Hands out the places of a study; `total` counts its COMPLETE and PRUNED trials, None for no end.

    A candidate that will be a new trial holds a place until it is that trial or is discarded. What is set aside is
    known to this run alone: between runs, trial numbers decide (`has_place`).
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self._set_aside: set[Place] = set()

    def __repr__(self) -> str:
        return f"Places(total={self.total}, set_aside={len(self._set_aside)})"

    @property
    def set_aside(self) -> int:
        """How many places candidates hold now."""
        return len(self._set_aside)

    def take(self, snapshot: Snapshot) -> Place | None:
        """Set a place aside, None if the study has none left."""
        left = self._left(snapshot) - len(self._set_aside)
        if left < 1:
            return None
        place = Place(left=None if self.total is None else int(left))
        self._set_aside.add(place)
        return place

    def release(self, place: Place | None) -> None:
        """Give a place back; it may be back already."""
        if place is not None:
            self._set_aside.discard(place)

    def has_place(self, number: int, snapshot: Snapshot) -> bool:
        """Whether a trial of this number is among the first that count, as many as the total allows."""
        if self.total is None:
            return True
        trials = (*snapshot.finished, *snapshot.running, *snapshot.waiting)
        return sum(trial.number < number and trial.state is not TrialState.FAIL for trial in trials) < self.total

    def takeable(self, snapshot: Snapshot) -> list[FrozenTrial]:
        """The enqueued trials that the total allows."""
        return [trial for trial in snapshot.waiting if self.has_place(trial.number, snapshot)]

    def is_full(self, snapshot: Snapshot) -> bool:
        """Whether the study allows neither a new trial nor an enqueued one."""
        return self._left(snapshot) < 1 and not self.takeable(snapshot)

    def is_reached(self, snapshot: Snapshot) -> bool:
        """Whether so many trials are COMPLETE or PRUNED that no place will ever be free again."""
        return self.total is not None and _done(snapshot) >= self.total

    def _left(self, snapshot: Snapshot) -> float:
        """The places left after the trials that are done and those that may still be; below 0 if these are too many."""
        if self.total is None:
            return math.inf
        return self.total - _done(snapshot) - len(snapshot.running) - len(snapshot.waiting)


def _done(snapshot: Snapshot) -> int:
    return sum(trial.state is not TrialState.FAIL for trial in snapshot.finished)
