"""What is known of a study for one set of columns: all caches of its finished trials, brought up to date in one place.

A study that was read from nothing gives the same view as one that was followed.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from ...engine.records import Params
from ...engine.study.snapshot import Snapshot
from ..space.axes import Axes
from ..space.space import Space
from .duplicates import Duplicate, DuplicateIndex, Point, point
from .evidence import Evidence
from .following import Following
from .rows import FinishedRows, InFlightEntry, InFlightRows

# Finished trials that are added and formatted in one turn of the loop: 2 ms at 10 parameters.
SLICE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A study at the moment of `snapshot`.

    Rows, evidence and index belong to the study's caches: a view is valid until the next one is made, so do not keep it
    over an `await`.
    """

    snapshot: Snapshot
    finished: FinishedRows
    evidence: Evidence
    index: DuplicateIndex
    in_flight: tuple[InFlightEntry, ...]
    find_in_flight: Callable[[Point], InFlightEntry | None]

    def find_duplicate(self, params: Params, *, conditional: bool) -> Duplicate | None:
        """What `params` repeat of the running, reserved and finished configurations.

        `conditional`: a trial suggests only a part of the parameters.
        """
        wanted = point(params, self.index.space)
        other = self.find_in_flight(wanted)
        if other is not None:
            return Duplicate(number=other.number, in_flight=True)
        number = self.index.find(wanted)
        if number is None and conditional:
            number = self.index.find_part(params)
        return None if number is None else Duplicate(number=number, in_flight=False)

    @property
    def exhausted(self) -> bool:
        """Whether every configuration of a finite space is finished or in flight."""
        finite = math.isfinite(self.index.size)
        return finite and self.index.is_full([other.point for other in self.in_flight])


class StudyView:
    """Follows one study for one set of columns."""

    def __init__(self, columns: Space, direction: StudyDirection) -> None:
        self.axes = Axes(columns)
        self._finished = FinishedRows(tuple(columns.distributions), direction)
        self._index = DuplicateIndex(columns.distributions)
        self._evidence = Evidence(self.axes, direction)
        self._in_flight = InFlightRows(columns.distributions, self.axes.places)
        # All that follows from the finished trials; updated together, so that each holds the same trials.
        self.caches: tuple[Following, ...] = (self._finished, self._index, self._evidence)
        self._taken_in: Sequence[FrozenTrial] | None = None

    def at(self, snapshot: Snapshot) -> View:
        """Bring all caches up to date with a snapshot."""
        self._update(snapshot.finished, len(snapshot.finished))
        return View(
            snapshot=snapshot,
            finished=self._finished,
            evidence=self._evidence,
            index=self._index,
            in_flight=self._in_flight.at(snapshot),
            find_in_flight=self._in_flight.find,
        )

    async def catch_up(self, latest: Callable[[], Snapshot], n_rows: int) -> View:
        """Bring all caches up to date with the latest snapshot, a slice at a time so that the loop is never held.

        The last `n_rows` rows are formatted as well, since a prompt will show them.
        """
        lacking = SLICE + 1
        while True:
            snapshot = latest()
            finished, before = snapshot.finished, lacking
            known = len(finished) if finished is self._taken_in else self._finished.known_prefix(finished)
            lacking = len(finished) - known
            if lacking <= 1 or before <= SLICE:  # one trial leaves time for its ask's guidance
                return self.at(snapshot)
            end = min(len(finished), known + SLICE)
            self._update(finished, end)
            if len(finished) - end < n_rows:
                self._finished.rows(known)
            await asyncio.sleep(0)

    def _update(self, finished: Sequence[FrozenTrial], until: int) -> None:
        if finished is self._taken_in and until == len(finished):
            return
        self._taken_in = finished if until == len(finished) else None
        for cache in self.caches:
            cache.update(finished, until)
