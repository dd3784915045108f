"""Finished trials as rows of a prompt, in order of completion, and what can be counted and ranked of them."""

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.study.attributes import is_interrupted
from ..space.notation import format_number, format_value
from .following import Following

MISSING = "-"

# Points of a learning curve that are shown: at steps 1, n^(1/3), n^(2/3) and n of n, since most curves bend early.
CURVE_POINTS = 4


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
        self.direction = direction
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
        """The rows of the `count` best complete trials, best first; the earlier trial wins a tie."""
        return [self._row(index) for _, _, index in self._ranking[:count]]

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


def cells(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], names: Sequence[str]
) -> tuple[str, ...]:
    """The values of `names` as the prompt shows them; `-` for a parameter that the trial does not have."""
    return tuple(cell(params[name], distributions[name]) if name in params else MISSING for name in names)


def cell(value: Any, distribution: BaseDistribution) -> str:
    """One value of a table, quoted where it would break the row."""
    text = format_value(value, distribution)
    return json.dumps(text, ensure_ascii=False) if "," in text or '"' in text or text == MISSING else text


def curve(values: Mapping[int, float]) -> str:
    """A learning curve in at most `CURVE_POINTS` points, "[1:0.9 4:0.6 20:0.41]", the last step always among them."""
    if not values:
        return ""
    steps, last = sorted(values), CURVE_POINTS - 1
    if len(steps) > CURVE_POINTS:
        steps = [steps[round(len(steps) ** (i / last)) - 1] for i in range(CURVE_POINTS)]
    return f"[{' '.join(f'{step}:{format_number(values[step])}' for step in dict.fromkeys(steps))}]"


def _result(trial: FrozenTrial) -> str:
    points = curve(trial.intermediate_values)
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return f"{format_number(trial.value)}{points}"
    if trial.state is TrialState.PRUNED:
        return f"pruned{points}"
    return f"{'interrupted' if is_interrupted(trial) else 'failed'}{points}"
