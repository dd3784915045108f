"""Facts about the finished trials on the axes of a space, from which guidance is computed.

How a study goes (counts, the trust region) follows trial by trial from how it went before, so that
it can go on from any of the last ones. The trust region follows TuRBO (Eriksson et al., "Scalable Global Optimization
via Local Bayesian Optimization", 2019), with factors for budgets of tens of trials instead of thousands.
"""

import bisect
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...engine.records import Params
from ...engine.study.attributes import is_inconclusive, retry_history, violations_of
from ..provenance import COMBINE, REFINE, GuidanceRecord, read_guidance
from ..space.axes import ABSENT, Array, Axes, Embedding
from .choices import ChoiceRecords
from .following import UNDO_DEPTH, Following

T = TypeVar("T")
P = ParamSpec("P")

Flags: TypeAlias = npt.NDArray[np.bool_]  # one a trial

# Newest finished trials that coverage and distances are computed from. What older ones would add is small, and each
# costs a row of every matrix.
WINDOW = 256

# Rows of the ring buffer, which drops its older half when it is full: the newer half must hold a window that ends a
# step of trials ago, and all trials that can be undone after it.
CAPACITY = 4 * WINDOW

# From how many finished trials on, in steps of how many what takes time is computed anew: at every trial while each one
# tells much, at every 16th when a new one is a small part of the window.
STEP_SIZES = ((64, 16), (16, 4), (0, 1))

FLAGS = ("failed", "infeasible", "free", "menu", "stumbled")  # what is said of every trial by a yes or no

# The side of the trust region, as a share of each axis: it begins with half of it, is never all of it (that would be
# exploring), and starts anew once changes are so fine that trials hardly differ from the best one.
TRUST_START, TRUST_LARGEST, TRUST_SMALLEST = 0.5, 0.8, 0.04

# TuRBO doubles after several successes and halves after as many failures as there are parameters. With tens of trials
# one success must do, so it changes the side less.
TRUST_GROWTH, TRUST_SHRINKAGE, TRUST_FAILURES = 1.4, 0.6, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A complete trial that violates nothing: its number, its value, and where it stands on each axis."""

    number: int
    value: float
    params: Params
    places: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialWindow:
    """The newest finished trials, a row each.

    `places`: one column an axis, NaN where a trial has no value, or says nothing about its configuration. `losses`:
    values turned so that lower is better, NaN where a trial gave none, or one that violates a constraint and counts for
    nothing (`infeasible`). `failed`: which of them failed. `free`, `menu`: which the model proposed in a free ask, and
    which from a menu. `stumbled`: for which it needed a second call, or
    repeated a trial all the same. `missed`: how many of the trials before it had not finished when its prompt was
    written, so that the model could not learn from them.
    """

    places: Array
    losses: Array
    failed: Flags
    infeasible: Flags
    free: Flags
    menu: Flags
    stumbled: Flags
    missed: "npt.NDArray[np.int_]"

    @property
    def seen(self) -> "npt.NDArray[np.int_]":
        """How many rows, from the first on, the model had seen when it proposed each; of consecutive rows."""
        return np.asarray(np.maximum(np.arange(len(self.losses)) - self.missed, 0))

    def only(self, rows: "npt.NDArray[np.int_] | Flags | slice") -> "TrialWindow":
        """Some of the rows."""
        return TrialWindow(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far from the incumbent to look: a region that grows on success and shrinks on failure.

    `length` is the side of the region, as a share of each axis; `failures` counts those in a row at this length.
    """

    length: float = TRUST_START
    failures: int = 0

    def after(self, *, improved: bool) -> "Trust":
        """The region once one more trial in it has finished; one that has shrunk to nothing starts anew."""
        if improved:
            return Trust(length=min(TRUST_LARGEST, self.length * TRUST_GROWTH))
        if self.failures + 1 < TRUST_FAILURES:
            return Trust(length=self.length, failures=self.failures + 1)
        length = self.length * TRUST_SHRINKAGE
        return Trust(length=TRUST_START if length < TRUST_SMALLEST else length)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """Where a study stands after one of its trials.

    `complete`: complete trials that violate nothing and have a place on the axes. `lowest`: the best loss of all,
    `since_improvement`: such trials since the one that gave it. `proposed`: trials that come from the model.
    """

    complete: int = 0
    proposed: int = 0
    lowest: float | None = None
    since_improvement: int = 0
    trust: Trust = field(default_factory=Trust)

    def after(self, guidance: GuidanceRecord, loss: float | None, *, placed: bool, judged: bool) -> "StudyProgress":
        """Where it stands after one more trial; `loss` is None for one that is not complete.

        `placed`: the trial has a place on the axes. `judged`: it tells something about the ask that it came from.
        """
        improved = loss is not None and (self.lowest is None or loss < self.lowest)
        refined = judged and guidance.role in (REFINE, COMBINE)
        return StudyProgress(
            complete=self.complete + (placed and loss is not None),
            proposed=self.proposed + guidance.proposed,
            lowest=loss if improved else self.lowest,
            since_improvement=0 if improved else self.since_improvement + (loss is not None),
            trust=self.trust.after(improved=improved) if refined else self.trust,
        )


class Evidence(Following):
    """The finished trials of one study on the axes of one space."""

    def __init__(self, axes: Axes, direction: StudyDirection) -> None:
        self.axes = axes
        self.embedding = Embedding(axes)
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        super().__init__()

    def _clear(self) -> None:
        self._history = deque([StudyProgress()], maxlen=UNDO_DEPTH + 1)  # after each of the newest trials
        flags = {name: np.empty(CAPACITY, dtype=bool) for name in FLAGS}
        self._window = TrialWindow(
            places=np.empty((CAPACITY, len(self.axes))),
            losses=np.empty(CAPACITY),
            missed=np.zeros(CAPACITY, dtype=int),
            **flags,
        )
        self._rows = 0
        self.choices = ChoiceRecords(self.axes)
        self._ranking: list[tuple[float, int, Best]] = []
        self._inconclusive: set[int] = set()
        self._step = 0
        self._computed: dict[Any, Any] = {}
        self._kept: dict[Any, Any] = {}

    @property
    def complete(self) -> int:
        """How many of them are complete, and have a place."""
        return self._history[-1].complete

    @property
    def proposed(self) -> int:
        """How many of them come from the model."""
        return self._history[-1].proposed

    @property
    def since_improvement(self) -> int:
        """Complete trials since the best value was found, wherever that was."""
        return self._history[-1].since_improvement

    @property
    def trust(self) -> Trust:
        """How far from the incumbent to look."""
        return self._history[-1].trust

    def best(self, count: int) -> list[Best]:
        """The `count` best complete trials that have a place, the incumbent first; the earlier trial wins a tie."""
        return [best for _, _, best in self._ranking[:count]]

    def value_of(self, loss: float) -> float:
        """The objective's value that is this loss."""
        return self._sign * loss

    def values_of(self, losses: Array) -> Array:
        """The objective's values that are these losses."""
        return self._sign * losses

    @property
    def newest(self) -> TrialWindow:
        """The last `WINDOW` finished trials."""
        return self._until(self._rows)

    def cached(self, compute: Callable[Concatenate["Evidence", P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `compute` makes of it; kept until there is one trial more, or less. Arguments have a hash."""
        key = (compute, *args, *kwargs.items())
        if key not in self._kept:
            self._kept[key] = compute(self, *args, **kwargs)
        found: T = self._kept[key]
        return found

    def cached_per_step(self, compute: Callable[["Evidence", TrialWindow], T]) -> T:
        """What `compute` makes of the newest trials as of the last step; the result is kept until the next one.

        The steps follow from the number of finished trials alone (`STEP_SIZES`).
        """
        step = step_of(self.known)
        if step != self._step:
            self._step, self._computed = step, {}
        if compute not in self._computed:
            self._computed[compute] = compute(self, self._until(self._rows - (self.known - step)))
        found: T = self._computed[compute]
        return found

    def _until(self, end: int) -> TrialWindow:
        return self._window.only(slice(max(0, end - WINDOW), end))

    def _add(self, trial: FrozenTrial) -> None:
        self._kept = {}
        inconclusive = is_inconclusive(trial)
        places = [ABSENT] * len(self.axes) if inconclusive else self.axes.places(trial.params)
        placed = not all(map(math.isnan, places))
        loss = self._loss(trial)
        if loss is not None and placed:
            assert trial.value is not None
            best = Best(number=trial.number, value=trial.value, params=trial.params, places=tuple(places))
            bisect.insort(self._ranking, (loss, trial.number, best), key=_rank)
        judged = not inconclusive and self._inconclusive.issuperset(retry_history(trial))  # an ask is judged once
        guidance = read_guidance(trial)
        failed = trial.state is TrialState.FAIL and not inconclusive
        infeasible = trial.state is TrialState.COMPLETE and bool(violations_of(trial))
        counted = math.nan if loss is None else loss
        self.choices.add(places, counted, failed=failed, infeasible=infeasible)
        self._append(
            places=places,
            losses=counted,
            failed=failed,
            infeasible=infeasible,
            free=judged and guidance.proposed and guidance.form == "plain",
            menu=judged and guidance.form == "menu",
            stumbled=guidance.stumbled,
            missed=0 if guidance.seen is None else max(0, self.known - guidance.seen),
        )
        self._history.append(self._history[-1].after(guidance, loss, placed=placed, judged=judged))
        if inconclusive:
            self._inconclusive.add(trial.number)

    def _undo(self, trial: FrozenTrial) -> None:
        self._kept = {}
        if self.known < self._step:
            self._step, self._computed = 0, {}
        self._rows -= 1
        self._history.pop()
        self._inconclusive.discard(trial.number)
        loss, row = self._loss(trial), self._window.only(slice(self._rows, self._rows + 1))
        self.choices.remove(
            row.places[0].tolist(), float(row.losses[0]), failed=bool(row.failed[0]), infeasible=bool(row.infeasible[0])
        )
        if loss is not None and not np.isnan(row.places).all():
            del self._ranking[bisect.bisect_left(self._ranking, (loss, trial.number), key=_rank)]

    def _loss(self, trial: FrozenTrial) -> float | None:
        """The value of a complete trial that violates nothing, turned so that lower is better."""
        if trial.state is not TrialState.COMPLETE or trial.value is None or violations_of(trial):
            return None
        return self._sign * trial.value

    def _append(self, **row: Any) -> None:
        if self._rows == CAPACITY:
            for name in row:
                column = getattr(self._window, name)
                column[: CAPACITY // 2] = column[CAPACITY // 2 :]
            self._rows = CAPACITY // 2
        for name, value in row.items():
            getattr(self._window, name)[self._rows] = value
        self._rows += 1


def _rank(entry: tuple[float, int, Best]) -> tuple[float, int]:
    return entry[:2]


def step_of(count: int) -> int:
    """The last number of finished trials, up to `count`, at which what takes time is computed."""
    size = next(size for start, size in STEP_SIZES if count >= start)
    return count - count % size
