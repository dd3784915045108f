"""Configurations in flight: running trials of everybody, and accepted proposals that are no trials yet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from ...engine.records import Params, Proposal, SearchSpace
from ...engine.study.attributes import llm_of
from ...engine.study.snapshot import Snapshot
from .duplicates import Point, point
from .finished_rows import Row, cells, curve

NO_PROPOSAL = Proposal(params={}, distributions={})


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightEntry:
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
class _Version:
    """What an entry follows from: a trial, the proposal behind it, and how much of the trial is known.

    The number of parameters and reported values of a running trial only ever grows.
    """

    number: int | None
    proposal: Proposal
    size: int = 0


class InFlightRows:
    """The configurations in flight in one search space; `locate` gives a configuration's place on each axis.

    Each is formatted once for as long as it does not change.
    """

    def __init__(self, space: SearchSpace, locate: Callable[[Params], Sequence[float]]) -> None:
        self._space = space
        self._locate = locate
        self._known: dict[_Version, InFlightEntry] = {}

    def at(self, snapshot: Snapshot) -> tuple[InFlightEntry, ...]:
        """Running trials that have parameters, by number, then reservations in their order."""
        known = self._known
        self._known = {
            version: known.get(version) or self._entry(trial, version.proposal)
            for version, trial in _versions(snapshot)
        }
        return tuple(self._known.values())

    def _entry(self, trial: FrozenTrial | None, proposal: Proposal) -> InFlightEntry:
        number, result = None, "reserved"
        params, distributions, provenance = proposal.params, proposal.distributions, proposal.provenance
        if trial is not None:
            number, result = trial.number, f"running{curve(trial.intermediate_values)}"
            params, distributions = {**params, **trial.params}, {**distributions, **trial.distributions}
            provenance = provenance or llm_of(trial)
        return InFlightEntry(
            number=number,
            row=Row(number=number, result=result, cells=cells(params, distributions, tuple(self._space))),
            point=point(params, self._space),
            params=params,
            places=self._locate(params),
            proposed=bool(provenance.get("calls")),
        )


def _versions(snapshot: Snapshot) -> Iterator[tuple[_Version, FrozenTrial | None]]:
    for trial in snapshot.running:
        proposal = snapshot.assigned.get(trial.number, NO_PROPOSAL)
        if trial.params or proposal.params:
            size = len(trial.params) + len(trial.intermediate_values)
            yield _Version(number=trial.number, proposal=proposal, size=size), trial
    for proposal in snapshot.reserved:
        if proposal.params:
            yield _Version(number=None, proposal=proposal), None
