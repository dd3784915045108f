"""Configurations in flight: running trials of everybody, and accepted proposals that are no trials yet.

Each is formatted once, however many asks look at it while it flies; a fresh `Flight` gives the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..engine.history import Snapshot
from ..engine.records import Params, Proposal, SearchSpace
from .digest import Row, cells
from .duplicates import Point, point


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """One configuration in flight: its trial's number (None while it is reserved), row, point and values."""

    number: int | None
    row: Row
    point: Point
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What an entry was made from; a running trial's parameters only ever grow."""

    number: int | None
    count: int
    proposal: Proposal | None

    def same(self, other: "_Source") -> bool:
        return self.proposal is other.proposal and self.count == other.count and self.number == other.number


class Flight:
    """The configurations in flight for one search space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._names = tuple(space)
        self._known: dict[int, tuple[_Source, InFlight]] = {}

    def update(self, snapshot: Snapshot) -> tuple[InFlight, ...]:
        """Running trials that have parameters, by number, then reservations in their order."""
        known: dict[int, tuple[_Source, InFlight]] = {}
        for key, source, params, distributions in self._sources(snapshot):
            before = self._known.get(key)
            if before is not None and before[0].same(source):
                known[key] = before
            else:
                known[key] = (source, self._entry(source.number, params, distributions))
        self._known = known
        return tuple(entry for _, entry in known.values())

    def _sources(self, snapshot: Snapshot) -> Iterator[tuple[int, _Source, Params, SearchSpace]]:
        for trial in snapshot.running:
            assigned = snapshot.assigned.get(trial.number)
            params, distributions = trial.params, trial.distributions
            source = _Source(number=trial.number, count=len(params), proposal=assigned)
            if assigned is not None:
                params = {**assigned.params, **params}
                distributions = {**assigned.distributions, **distributions}
            if params:
                yield trial.number, source, params, distributions
        for proposal in snapshot.reserved:
            if proposal.params:
                key = -id(proposal)  # alive as long as its source is kept, so no other object can have it
                yield key, _Source(number=None, count=0, proposal=proposal), proposal.params, proposal.distributions

    def _entry(self, number: int | None, params: Params, distributions: SearchSpace) -> InFlight:
        result = "reserved" if number is None else "running"
        row = Row(number=number, result=result, cells=cells(params, distributions, self._names))
        return InFlight(number=number, row=row, point=point(params, self._space), params=params)
