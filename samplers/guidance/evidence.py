"""What the finished trials show, kept up as they come.

Each is looked at once; new evidence of the same trials equals an old one that grew.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.records import Params
from .axes import Axes
from .past import read
from .roles import COMBINE, REFINE
from .trust import Trust

Array: TypeAlias = npt.NDArray[np.float64]

WINDOW = 256
"""Finished trials that effects, coverage and distances are computed from: the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A complete trial: its number, its value, and where it stands on each axis."""

    number: int
    value: float
    params: Params
    places: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest finished trials, a row each.

    `places`: one column an axis, NaN where a trial has no value. `losses`: values turned so that lower is better, NaN
    where a trial gave none. `failed`: which of them failed.
    """

    places: Array
    losses: Array
    failed: npt.NDArray[np.bool_]


@dataclass(slots=True)
class Score:
    """What asks of one form have shown: how many finished, how many improved the best, how far they stayed inside."""

    asks: int = 0
    improved: int = 0
    inside: float = 0.0


class Evidence:
    """The finished trials of one study on the axes of one space."""

    def __init__(self, axes: Axes, direction: StudyDirection) -> None:
        self.axes = axes
        self.direction = direction
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        self._clear()

    def _clear(self) -> None:
        self._last: FrozenTrial | None = None
        self.known = 0
        self.complete = 0
        self.since_improvement = 0
        self.trust = Trust()
        self.scores: dict[str, Score] = {}
        self._places: list[list[float]] = []
        self._losses: list[float] = []
        self._failed: list[bool] = []
        self._ranking: list[tuple[float, int, FrozenTrial]] = []
        self._newest: Newest | None = None

    def update(self, finished: Sequence[FrozenTrial]) -> None:
        """Take in the finished trials of a snapshot; starts anew if they do not continue those seen before."""
        if self.known and (self.known > len(finished) or finished[self.known - 1] is not self._last):
            self._clear()
        for trial in finished[self.known :]:
            self._add(trial)
        self.known = len(finished)
        self._last = finished[-1] if finished else None
        self._forget()
        self._newest = None

    def best(self, count: int) -> list[Best]:
        """The `count` best complete trials, best first; the earlier trial wins a tie."""
        return [
            Best(
                number=number,
                value=self._sign * loss,
                params=trial.params,
                places=tuple(self.axes.places(trial.params)),
            )
            for loss, number, trial in self._ranking[:count]
        ]

    @property
    def newest(self) -> Newest:
        """The last `WINDOW` finished trials."""
        if self._newest is None:
            self._newest = Newest(
                places=np.array(self._places[-WINDOW:], dtype=float).reshape(-1, len(self.axes)),
                losses=np.array(self._losses[-WINDOW:], dtype=float),
                failed=np.array(self._failed[-WINDOW:], dtype=bool),
            )
        return self._newest

    def _add(self, trial: FrozenTrial) -> None:
        guided = read(trial)
        loss = math.nan
        improved = False
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            loss = self._sign * trial.value
            improved = not self._ranking or loss < self._ranking[0][0]
            bisect.insort(self._ranking, (loss, trial.number, trial), key=lambda entry: entry[:2])
            self.complete += 1
            self.since_improvement = 0 if improved else self.since_improvement + 1
        self._places.append(self.axes.places(trial.params))
        self._losses.append(loss)
        self._failed.append(trial.state is TrialState.FAIL)
        if guided.role in (REFINE, COMBINE):
            self.trust = self.trust.after(improved=improved)
            score = self.scores.setdefault(guided.form or "", Score())
            score.asks += 1
            score.improved += improved
            score.inside += 1.0 if guided.inside is None else guided.inside

    def _forget(self) -> None:
        if len(self._losses) > 2 * WINDOW:
            for column in (self._places, self._losses, self._failed):
                del column[:-WINDOW]
