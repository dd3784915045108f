"""What the finished trials show, kept up as they come.

Each is looked at once; new evidence of the same trials equals an old one that grew.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.history import failure_type
from ...engine.records import INTERRUPTED, RUN_DIED, Params
from .arrays import Array
from .axes import ABSENT, Axes
from .embedding import Embedding
from .past import Guided, read
from .roles import COMBINE, REFINE
from .trust import Trust

T = TypeVar("T")

WINDOW = 256
"""Finished trials that effects, coverage and distances are computed from: the newest ones."""

KEPT = 4 * WINDOW

FADING = 0.97
"""What a trial's share of a score is multiplied by at each later one: half of it is left after 23."""

SILENT = (INTERRUPTED, RUN_DIED)
"""Failures that say nothing about a configuration: such a trial has no place."""

EARLY = 4
"""Complete trials that say nothing about an ask: among the first ones every other improves on the best."""

STEPS = ((64, 16), (16, 4), (0, 1))
"""From how many finished trials on, in steps of how many what takes time is computed anew."""


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

    `places`: one column an axis, NaN where a trial has no value, or says nothing about its configuration. `losses`:
    values turned so that lower is better, NaN where a trial gave none. `failed`: which of them failed.
    """

    places: Array
    losses: Array
    failed: npt.NDArray[np.bool_]

    def only(self, rows: npt.NDArray[np.int_] | npt.NDArray[np.bool_]) -> "Newest":
        """Some of the rows."""
        return Newest(places=self.places[rows], losses=self.losses[rows], failed=self.failed[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What asks of one kind have shown: how many improved the best trial, stayed in their region, took a second call.

    Each counts less the longer it is ago: when good values are found, fewer asks of any kind improve on them.
    """

    asks: float = 0.0
    improved: float = 0.0
    inside: float = 0.0
    stumbled: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            asks=self.asks + other.asks,
            improved=self.improved + other.improved,
            inside=self.inside + other.inside,
            stumbled=self.stumbled + other.stumbled,
        )

    def faded(self) -> "Score":
        """The same, one trial later."""
        return Score(
            asks=FADING * self.asks,
            improved=FADING * self.improved,
            inside=FADING * self.inside,
            stumbled=FADING * self.stumbled,
        )


class Evidence:
    """The finished trials of one study on the axes of one space."""

    def __init__(self, axes: Axes, direction: StudyDirection) -> None:
        self.axes = axes
        self.embedding = Embedding(axes)
        self.direction = direction
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        self._clear()

    def _clear(self) -> None:
        self._last: FrozenTrial | None = None
        self.known = 0
        self.complete = 0
        self.proposed = 0
        self.since_improvement = 0
        self.trust = Trust()
        self._scores: dict[tuple[str, str], Score] = {}
        self._places = np.empty((KEPT, len(self.axes)))
        self._losses = np.empty(KEPT)
        self._failed = np.empty(KEPT, dtype=bool)
        self._rows = 0
        self._ranking: list[tuple[float, int, Best]] = []
        self._step = 0
        self._computed: dict[Any, Any] = {}

    def update(self, finished: Sequence[FrozenTrial]) -> None:
        """Take in the finished trials of a snapshot; starts anew if they do not continue those seen before."""
        if self.known and (self.known > len(finished) or finished[self.known - 1] is not self._last):
            self._clear()
        for trial in finished[self.known :]:
            self._add(trial)
        self.known = len(finished)
        self._last = finished[-1] if finished else None

    def best(self, count: int) -> list[Best]:
        """The `count` best complete trials, best first; the earlier trial wins a tie."""
        return [best for _, _, best in self._ranking[:count]]

    def score(self, *, role: str | None = None, form: str | None = None) -> Score:
        """What asks with regions have shown, of all roles and forms or of those named."""
        kinds = self._scores.items()
        wanted = (score for (r, f), score in kinds if role in (None, r) and form in (None, f))
        return sum(wanted, Score())

    @property
    def newest(self) -> Newest:
        """The last `WINDOW` finished trials."""
        return self._until(self._rows)

    def once(self, compute: Callable[["Evidence", Newest], T]) -> T:
        """What `compute` makes of the newest trials as of the last step; the result is kept until the next one.

        The steps follow from the number of finished trials alone (`STEPS`).
        """
        step = step_of(self.known)
        if step != self._step:
            self._step, self._computed = step, {}
        if compute not in self._computed:
            self._computed[compute] = compute(self, self._until(self._rows - (self.known - step)))
        found: T = self._computed[compute]
        return found

    def _until(self, end: int) -> Newest:
        rows = slice(max(0, end - WINDOW), end)
        return Newest(places=self._places[rows], losses=self._losses[rows], failed=self._failed[rows])

    def _add(self, trial: FrozenTrial) -> None:
        guided = read(trial)
        self.proposed += guided.proposed
        silent = failure_type(trial) in SILENT
        places = [ABSENT] * len(self.axes) if silent else self.axes.places(trial.params)
        loss = math.nan
        improved = False
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            loss = self._sign * trial.value
            improved = not self._ranking or loss < self._ranking[0][0]
            best = Best(number=trial.number, value=trial.value, params=trial.params, places=tuple(places))
            bisect.insort(self._ranking, (loss, trial.number, best), key=lambda entry: entry[:2])
            self.complete += 1
            self.since_improvement = 0 if improved else self.since_improvement + 1
        self._append(places, loss, trial.state is TrialState.FAIL and not silent)
        if guided.role in (REFINE, COMBINE):
            self.trust = self.trust.after(improved=improved)
        if guided.inside is not None and self.complete > EARLY:
            self._judge(guided, guided.inside, improved=improved)

    def _judge(self, guided: Guided, inside: float, *, improved: bool) -> None:
        kind = (guided.role or "", guided.form or "")
        self._scores = {known: score.faded() for known, score in self._scores.items()}
        one = Score(asks=1.0, improved=float(improved), inside=inside, stumbled=float(guided.stumbled))
        self._scores[kind] = self._scores.get(kind, Score()) + one

    def _append(self, places: Sequence[float], loss: float, failed: bool) -> None:
        if self._rows == KEPT:
            for column in (self._places, self._losses, self._failed):
                column[: KEPT // 2] = column[KEPT // 2 :]
            self._rows = KEPT // 2
        self._places[self._rows], self._losses[self._rows], self._failed[self._rows] = places, loss, failed
        self._rows += 1


def step_of(count: int) -> int:
    """The last number of finished trials, up to `count`, at which what takes time is computed."""
    size = next(size for start, size in STEPS if count >= start)
    return count - count % size
