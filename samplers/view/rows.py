"""Configurations as rows of a prompt: finished trials, and what is in flight."""

import bisect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.records import Params, Proposal, SearchSpace
from ...engine.study.attributes import is_interrupted, llm_of
from ...engine.study.snapshot import Snapshot
from ..space.notation import DIGITS, cells, digits_apart, format_number
from .duplicates import Point, point
from .following import Following

# Points of a learning curve that are shown: at steps 1, n^(1/3), n^(2/3) and n of n, since most curves bend early.
CURVE_POINTS = 4

NO_PROPOSAL = Proposal(params={}, distributions={})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration as a line of a table: its trial's number if it has one, its result, and its cells."""

    number: int | None
    result: str
    cells: tuple[str, ...]

    @cached_property
    def line(self) -> str:
        """The row as it stands in the prompt."""
        return ",".join(["new" if self.number is None else str(self.number), self.result, *self.cells])


class FinishedRows(Following):
    """Rows of `names` in order of completion, counts by state, failed trials, and complete trials by value.

    A row is formatted when it is first shown: of a long history a prompt shows few.
    """

    def __init__(self, names: Sequence[str], direction: StudyDirection) -> None:
        self.names = tuple(names)
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        super().__init__()

    def _clear(self) -> None:
        self._rows: dict[int, Row] = {}
        self.failed: list[FrozenTrial] = []
        self.counts = dict.fromkeys(TrialState, 0)
        self._ranking: list[tuple[float, int, int]] = []  # signed value, number, index of the row

    def rows(self, first: int) -> list[Row]:
        """The rows from index `first` on, in order of completion."""
        return [self._row(index) for index in range(first, self.known)]

    def first_within(self, count: int, length: int) -> int:
        """The index of the oldest row that is among the last `count`, and fits with all later ones into `length`."""
        index, left = self.known, length
        while index > max(0, self.known - count) and (left := left - len(self._row(index - 1).line) - 1) >= 0:
            index -= 1
        return index

    def best(self, count: int) -> list[Row]:
        """The rows of the `count` best complete trials, best first; the earlier trial wins a tie.

        Their values have as many digits as tell them, and the next one, apart.
        """
        values = [self._sign * value for value, _, _ in self._ranking[: count + 1]]
        digits = digits_apart(values)
        rows = {index: self._row(index) for _, _, index in self._ranking[:count]}
        if digits == DIGITS:
            return list(rows.values())
        return [replace(row, result=_result(self._trials[index], digits)) for index, row in rows.items()]

    def _add(self, trial: FrozenTrial) -> None:
        self.counts[trial.state] += 1
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            bisect.insort(self._ranking, (self._sign * trial.value, trial.number, self.known))
        elif trial.state is TrialState.FAIL and not is_interrupted(trial):
            self.failed.append(trial)

    def _undo(self, trial: FrozenTrial) -> None:
        self.counts[trial.state] -= 1
        self._rows.pop(self.known, None)
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            entry = (self._sign * trial.value, trial.number, self.known)
            del self._ranking[bisect.bisect_left(self._ranking, entry)]
        elif self.failed and self.failed[-1] is trial:
            self.failed.pop()

    def _row(self, index: int) -> Row:
        row = self._rows.get(index)
        if row is None:
            trial = self._trials[index]
            # With the trial's own distributions, so that a row never changes.
            shown = cells(trial.params, trial.distributions, self.names)
            row = self._rows[index] = Row(number=trial.number, result=_result(trial), cells=shown)
        return row


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


class InFlightRows:
    """The configurations in flight in one search space; `locate` gives a configuration's place on each axis.

    Each is formatted once for as long as it does not change.
    """

    def __init__(self, space: SearchSpace, locate: Callable[[Params], Sequence[float]]) -> None:
        self._space = space
        self._locate = locate
        self._known: dict[Hashable, InFlightEntry] = {}

    def at(self, snapshot: Snapshot) -> tuple[InFlightEntry, ...]:
        """Running trials that have parameters, by number, then reservations in their order."""
        known, self._known = self._known, {}
        assigned = snapshot.assigned
        for trial in snapshot.running:
            number, params = trial.number, trial.params  # hundreds of trials may run
            proposal = assigned.get(number, NO_PROPOSAL)
            if params or proposal.params:
                # The number of parameters and reported values of a running trial only ever grows.
                key = (number, proposal, len(params) + len(trial.intermediate_values))
                self._known[key] = known.get(key) or self._entry(trial, proposal)
        for proposal in snapshot.reserved:
            if proposal.params:
                self._known[proposal] = known.get(proposal) or self._entry(None, proposal)
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


def curve(values: Mapping[int, float]) -> str:
    """A learning curve in at most `CURVE_POINTS` points, "[1:0.9 4:0.6 20:0.41]", the last step always among them."""
    if not values:
        return ""
    steps, last = sorted(values), CURVE_POINTS - 1
    if len(steps) > CURVE_POINTS:
        steps = [steps[round(len(steps) ** (i / last)) - 1] for i in range(CURVE_POINTS)]
    return f"[{' '.join(f'{step}:{format_number(values[step])}' for step in dict.fromkeys(steps))}]"


def _result(trial: FrozenTrial, digits: int = DIGITS) -> str:
    points = curve(trial.intermediate_values)
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return f"{format_number(trial.value, digits)}{points}"
    if trial.state is TrialState.PRUNED:
        return f"pruned{points}"
    return f"{'interrupted' if is_interrupted(trial) else 'failed'}{points}"
