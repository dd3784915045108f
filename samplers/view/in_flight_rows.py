"""Configurations in flight: running trials of everybody, and accepted proposals that are no trials yet.

Each is formatted once, however many asks look at it while it flies; a fresh `Flight` gives the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from ...engine.records import EMPTY, Params, Proposal, SearchSpace
from ...engine.study.attributes import llm_of
from ...engine.study.snapshot import Snapshot
from .duplicates import Point, point
from .finished_rows import Row, cells, curve


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """One configuration in flight: its trial's number (None while it is reserved), row, point, values and places.

    `proposed`: it comes from the model.
    """

    number: int | None
    row: Row
    point: Point
    params: Params
    places: Sequence[float]
    proposed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What an entry is made from."""

    trial: FrozenTrial | None
    proposal: Proposal | None
    size: int

    def same(self, other: "_Source") -> bool:
        numbers = [None if source.trial is None else source.trial.number for source in (self, other)]
        return self.proposal is other.proposal and self.size == other.size and numbers[0] == numbers[1]


class Flight:
    """The configurations in flight for one search space; `locate` gives a configuration's place on each axis."""

    def __init__(self, space: SearchSpace, locate: Callable[[Params], Sequence[float]]) -> None:
        self._space = space
        self._locate = locate
        self._names = tuple(space)
        self._known: dict[int, tuple[_Source, InFlight]] = {}
        self._last: tuple[Snapshot, tuple[InFlight, ...]] = (Snapshot(), ())

    def update(self, snapshot: Snapshot) -> tuple[InFlight, ...]:
        """Running trials that have parameters, by number, then reservations in their order."""
        if snapshot is self._last[0]:  # one ask looks several times
            return self._last[1]
        known: dict[int, tuple[_Source, InFlight]] = {}
        for key, source in self._sources(snapshot):
            before = self._known.get(key)
            known[key] = before if before is not None and before[0].same(source) else (source, self._entry(source))
        self._known = known
        self._last = (snapshot, tuple(entry for _, entry in known.values()))
        return self._last[1]

    def _sources(self, snapshot: Snapshot) -> Iterator[tuple[int, _Source]]:
        for trial in snapshot.running:
            assigned = snapshot.assigned.get(trial.number)
            if trial.params or (assigned is not None and assigned.params):
                yield trial.number, _Source(trial=trial, proposal=assigned, size=_size(trial))
        for proposal in snapshot.reserved:
            if proposal.params:
                key = -id(proposal)  # alive as long as its source is kept, so no other object can have it
                yield key, _Source(trial=None, proposal=proposal, size=0)

    def _entry(self, source: _Source) -> InFlight:
        trial, proposal = source.trial, source.proposal
        params: Params = {}
        distributions: SearchSpace = {}
        provenance: Mapping[str, Any] = EMPTY
        if proposal is not None:
            params, distributions, provenance = proposal.params, proposal.distributions, proposal.provenance
        if trial is not None:
            params, distributions = {**params, **trial.params}, {**distributions, **trial.distributions}
            provenance = provenance or llm_of(trial)
        return InFlight(
            number=None if trial is None else trial.number,
            row=Row(
                number=None if trial is None else trial.number,
                result="reserved" if trial is None else f"running{curve(trial.intermediate_values)}",
                cells=cells(params, distributions, self._names),
            ),
            point=point(params, self._space),
            params=params,
            places=self._locate(params),
            proposed=bool(provenance.get("calls")),
        )


def _size(trial: FrozenTrial) -> int:
    """How much is known of a running trial; it only ever grows."""
    return len(trial.params) + len(trial.intermediate_values)
