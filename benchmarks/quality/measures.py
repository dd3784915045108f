"""From the trials of one cell to its line of results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from optuna_llm.samplers.view.duplicates import TOLERANCE, point

from .replies import Totals
from .tasks.task import Direction, Params, Task, regret

CHECKPOINTS: Final = (5, 10, 20, 25, 50)
NEAR: Final = 0.05  # of a float's range (of its logarithm's, for log ones)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of results.

    `values` in order of the trials' numbers, None for a failed evaluation; `curve` is the normalised regret of the best
    so far after each of them (None before the first value). `invalid`: proposals that were given up after their
    re-asks; `duplicates`: trials that repeat an earlier one; `near_in_flight`: of the proposals that were made while
    others were in flight, the share that is within 5 % of one of those in every float and equal elsewhere. `seconds` is
    the simulated wall-clock: training seconds and the model's latency on that many workers.
    """

    task: str
    method: str
    seed: int
    first: bool
    values: Sequence[float | None]
    best: Sequence[float | None]
    curve: Sequence[float | None]
    regret: Mapping[str, float | None]
    invalid: int
    duplicates: int
    repaired: float | None
    near_in_flight: float | None
    seconds: float
    spent: Mapping[str, float | None]

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        return cls(**record)

    def at(self, checkpoint: int) -> float | None:
        """Normalised regret after that many trials, at least one; that of its end if the cell ended before."""
        return self.curve[min(checkpoint, len(self.curve)) - 1] if self.curve else None


def measure(
    name: str, method: str, seed: int, trials: Sequence[FrozenTrial], task: Task, *, totals: Totals, first: bool
) -> Measured:
    values = [trial.value if trial.state is TrialState.COMPLETE else None for trial in trials]
    best = best_so_far(values, task.direction)
    curve = [None if value is None else regret(value, task.reference) for value in best]
    proposed = [trial for trial in trials if "llm" in trial.user_attrs]
    asked = [trial for trial in proposed if trial.user_attrs["llm"].get("calls")]
    return Measured(
        task=name,
        method=method,
        seed=seed,
        first=first,
        values=values,
        best=best,
        curve=curve,
        regret={str(checkpoint): curve[checkpoint - 1] for checkpoint in CHECKPOINTS if checkpoint <= len(curve)},
        invalid=max(0, totals.exchanges - len(asked)),
        duplicates=duplicates([trial.params for trial in trials], task.space),
        repaired=share([bool(trial.user_attrs["llm"].get("repairs")) for trial in proposed]),
        near_in_flight=share(near_in_flight(trials, task.space)),
        seconds=max((trial.user_attrs["simulated_seconds"]["ended"] for trial in trials), default=0.0),
        spent={name: value for name, value in asdict(totals).items() if name != "exchanges"},
    )


def best_so_far(values: Sequence[float | None], direction: Direction) -> list[float | None]:
    """The best of the first 1, 2, ... values; None before the first that is one."""
    better = min if direction == "minimize" else max
    found: list[float | None] = []
    best: float | None = None
    for value in values:
        if value is not None and not math.isnan(value):
            best = value if best is None else better(best, value)
        found.append(best)
    return found


def share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def duplicates(configurations: Sequence[Params], space: Mapping[str, BaseDistribution]) -> int:
    """How many configurations repeat an earlier one."""
    return sum(
        any(near(params, earlier, space, TOLERANCE) for earlier in configurations[:index])
        for index, params in enumerate(configurations)
    )


def near_in_flight(trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]) -> list[bool]:
    """For each trial that began while others ran: whether it is near one of those."""
    found = []
    for trial in trials:
        others = [other for other in trials if other.number < trial.number and _runs(other, trial)]
        if others:
            found.append(any(near(trial.params, other.params, space, NEAR) for other in others))
    return found


def _runs(other: FrozenTrial, trial: FrozenTrial) -> bool:
    """Whether `other` was being evaluated when `trial` was created."""
    began, created, ended = other.datetime_start, trial.datetime_start, other.datetime_complete
    return began is not None and created is not None and began <= created and (ended is None or ended > created)


def near(one: Params, other: Params, space: Mapping[str, BaseDistribution], tolerance: float) -> bool:
    """Whether two configurations are within `tolerance` of the range in every float, and equal elsewhere."""
    return point(one, space).near(point(other, space), within=tolerance)
