"""Configurations as rows of a prompt: finished trials, and what is in flight."""

import bisect
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.foreign_text import clean
from ...engine.records import Params, Proposal, SearchSpace
from ...engine.study.attributes import is_interrupted, llm_of, violations_of
from ...engine.study.snapshot import Snapshot
from ..space.notation import DIGITS, cells, digits_apart, format_number, redact
from .duplicates import Point, point
from .following import Following, common_ends

# Of the constraints that a trial violates so many are named, each in so many characters: enough to tell them apart.
SHOWN_VIOLATIONS = 3
VIOLATION_NAME = 24

PRUNED = "pruned"
INFEASIBLE = "infeasible"  # how the mark begins of a complete trial that violates constraints

# Points of a learning curve that are shown: at steps 1, n^(1/3), n^(2/3) and n of n, since most curves bend early.
CURVE_POINTS = 4

# Trials and proposals that are remembered beside twice those in flight, so that few do not make it forget each time.
KEPT_SOURCES = 64

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
    """Rows of `names` in order of completion, counts by state, failed trials, and feasible complete trials by value.

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
        """The rows of the `count` best complete and feasible trials, best first; the earlier trial wins a tie.

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
        if trial.state is TrialState.COMPLETE and trial.value is not None and not violations_of(trial):
            bisect.insort(self._ranking, (self._sign * trial.value, trial.number, self.known))
        elif trial.state is TrialState.FAIL and not is_interrupted(trial):
            self.failed.append(trial)

    def _undo(self, trial: FrozenTrial) -> None:
        self.counts[trial.state] -= 1
        self._rows.pop(self.known, None)
        if trial.state is TrialState.COMPLETE and trial.value is not None and not violations_of(trial):
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


@dataclass(frozen=True, kw_only=True)
class InFlightEntry:
    """One configuration in flight: its trial's number (None while it is reserved), result, values and point.

    `key` is another one when the entry is. `proposed`: it comes from the model. Its row, and its places on the axes,
    are made when they are first wanted: of a thousand in flight a prompt shows few.
    """

    key: Hashable = field(compare=False, repr=False)
    number: int | None
    result: str
    names: tuple[str, ...]
    params: Params
    distributions: SearchSpace
    point: Point
    proposed: bool
    locate: Callable[[Params], Sequence[float]] = field(compare=False, repr=False)

    @cached_property
    def row(self) -> Row:
        """The configuration as a line of a table."""
        return Row(number=self.number, result=self.result, cells=cells(self.params, self.distributions, self.names))

    @cached_property
    def places(self) -> Sequence[float]:
        """Where it stands on each axis."""
        return self.locate(self.params)


class InFlightRows:
    """The configurations in flight in one search space; `locate` gives a configuration's place on each axis.

    A thousand may be in flight, and every ask looks at them twice: so what is the same object as before is not looked
    into again. Storages replace a trial that changes, and change none.
    """

    def __init__(self, space: SearchSpace, locate: Callable[[Params], Sequence[float]]) -> None:
        self._space = space
        self._names = tuple(space)
        self._locate = locate
        self._sources: tuple[FrozenTrial | Proposal, ...] = ()
        self._known: tuple[InFlightEntry | None, ...] = ()  # one for each source, None if it has no parameters
        self._entries: tuple[InFlightEntry, ...] = ()
        self._assigned: Mapping[int, Proposal] = {}
        self._forget()

    def _forget(self) -> None:
        """Keep what was in flight last, and nothing from before."""
        self._met: list[FrozenTrial | Proposal] = []  # kept alive, so that an id stands for one object
        self._by_id: dict[int, InFlightEntry | None] = {}  # None: it has no parameters
        self._by_key = {entry.key: entry for entry in self._entries}
        self._groups: dict[Hashable, list[InFlightEntry]] = {}
        for entry in self._entries:
            self._groups.setdefault(entry.point.discrete, []).append(entry)

    def at(self, snapshot: Snapshot) -> tuple[InFlightEntry, ...]:
        """Running trials that have parameters, by number, then reservations in their order."""
        sources: tuple[FrozenTrial | Proposal, ...] = (*snapshot.running, *snapshot.reserved)
        if len(self._met) > 2 * len(sources) + KEPT_SOURCES:
            self._forget()
        changed = {number for number, _ in snapshot.assigned.items() ^ self._assigned.items()}
        self._assigned = snapshot.assigned
        for trial in snapshot.running if changed else ():
            if trial.number in changed:
                self._by_id.pop(id(trial), None)
        before, after = (0, 0) if changed else common_ends(self._sources, sources)
        middle = sources[before : len(sources) - after]
        known = self._known[:before], self._known[len(self._known) - after :]
        self._known = (*known[0], *map(self._known_as, middle), *known[1])
        self._sources = sources
        self._entries = tuple(filter(None, self._known))
        return self._entries

    def find(self, wanted: Point) -> InFlightEntry | None:
        """The first configuration, of those in flight last, that is the same."""
        near = [other for other in self._groups.get(wanted.discrete, ()) if wanted.near(other.point)]
        if not near:
            return None
        return next((entry for entry in self._entries if any(entry is other for other in near)), None)

    def _known_as(self, source: FrozenTrial | Proposal) -> InFlightEntry | None:
        """The entry of a source that may be the same object as before."""
        if id(source) not in self._by_id:
            self._met.append(source)
            self._by_id[id(source)] = self._entry_of(source)
        return self._by_id[id(source)]

    def _entry_of(self, source: FrozenTrial | Proposal) -> InFlightEntry | None:
        """What is known of a trial or a reservation that is met as another object than before."""
        trial = source if isinstance(source, FrozenTrial) else None
        proposal = source if isinstance(source, Proposal) else self._assigned.get(source.number, NO_PROPOSAL)
        if not (proposal.params or (trial is not None and trial.params)):
            return None
        # The number of parameters and reported values of a running trial only ever grows.
        size = 0 if trial is None else len(trial.params) + len(trial.intermediate_values)
        key = (None if trial is None else trial.number, proposal, size)
        entry = self._by_key.get(key)
        if entry is None:
            entry = self._by_key[key] = self._entry(key, trial, proposal)
            self._groups.setdefault(entry.point.discrete, []).append(entry)
        return entry

    def _entry(self, key: Hashable, trial: FrozenTrial | None, proposal: Proposal) -> InFlightEntry:
        number, result = None, "reserved"
        params, distributions, provenance = proposal.params, proposal.distributions, proposal.provenance
        if trial is not None:
            number, result = trial.number, f"running{curve(trial.intermediate_values)}"
            params, distributions = {**params, **trial.params}, {**distributions, **trial.distributions}
            provenance = provenance or llm_of(trial)
        return InFlightEntry(
            key=key,
            number=number,
            result=result,
            names=self._names,
            params=params,
            distributions=distributions,
            point=point(params, self._space),
            proposed=bool(provenance.get("calls")),
            locate=self._locate,
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
        return f"{format_number(trial.value, digits)}{_violations(trial)}{points}"
    if trial.state is TrialState.PRUNED:
        return f"{PRUNED}{points}"
    return f"{'interrupted' if is_interrupted(trial) else 'failed'}{points}"


def _violations(trial: FrozenTrial) -> str:
    """The mark of a complete trial that violates constraints, by how much: " infeasible(memory 0.4)"; else nothing."""
    violated = violations_of(trial)
    if not violated:
        return ""
    shown = [f"{_name(name)} {format_number(value)}" for name, value in list(violated.items())[:SHOWN_VIOLATIONS]]
    more = len(violated) - len(shown)
    return f" {INFEASIBLE}({'; '.join(shown)}{f' and {more} more' if more else ''})"


def _name(constraint: str) -> str:
    """A constraint's name in a table: data, without what a table or a mark is made of."""
    return re.sub(r"[^\w.-]+", "_", clean(redact(constraint), VIOLATION_NAME)) or "_"
