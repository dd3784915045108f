"""What a report says of a study, as records: computed from the study alone, before anything is drawn."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ..engine.errors import UsageError
from ..engine.fleet.runs import RunRecord, runs_of
from ..engine.study.attributes import untracked_charges
from ..engine.table import aligned, row_of
from .running_time import RunningTime, ends_of_the_dead, running_time
from .tallies import (
    FailureTally,
    Proposing,
    RoleTally,
    Row,
    Spending,
    failures_of,
    proposing_of,
    roles_of,
    spending_of,
)
from .timeline import Seat, Timeline, seat_of, timeline_of

NONE: Final = "None"  # a choice; a cell of a row is None where a trial has no such parameter

STATE_WORDS: Final = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}

# Of fewer complete trials the importances are noise, and would be believed.
FEWEST_FOR_IMPORTANCES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """A trial that was better than all that ended before it.

    `gain` is None for the first. `cost` in US dollars and `tokens` are those of the trials that ended since the
    improvement before, this one among them; a cost is None where that of one of them is unknown.
    """

    number: int
    value: float
    gain: float | None
    seconds: float
    cost: float | None
    tokens: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a report shows; `ended` are the rows of finished trials in the order in which they ended.

    A row is one of `engine.table`, but a choice of None is a word in it. `time` is that of the axes, and `seats` say
    where each trial ran, by its number. The page numbers `runs` from 1, in their order.
    """

    name: str
    maximize: bool
    rows: Sequence[Row]
    ended: Sequence[Row]
    parameters: Sequence[str]
    improvements: Sequence[Improvement]
    importances: Mapping[str, float] | None
    proposing: Proposing
    roles: Sequence[RoleTally]
    failures: Sequence[FailureTally]
    spending: Spending
    runs: Sequence[RunRecord]
    timeline: Timeline
    seats: Mapping[int, Seat]
    models: Sequence[str]
    time: RunningTime

    @property
    def best_row(self) -> Row | None:
        """The best trial's row."""
        return next((row for row in self.rows if self.best and row["number"] == self.best.number), None)

    @property
    def best(self) -> Improvement | None:
        """The best trial."""
        return self.improvements[-1] if self.improvements else None

    def states(self) -> dict[str, int]:
        """How many trials are in each state."""
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row["state"]] = counts.get(row["state"], 0) + 1
        return counts


def findings_of(study: Study) -> Findings:
    """Find out all that a report of this study shows. Raises `UsageError` where it has several objectives."""
    if len(study.directions) > 1:
        raise UsageError("a report needs a study with one objective")
    trials, maximize = study.get_trials(deepcopy=False), study.direction is StudyDirection.MAXIMIZE
    rows = aligned([_with_words(row_of(trial), trial) for trial in trials])
    runs = runs_of(study)
    seats = {trial.number: seat_of(trial) for trial in trials}
    ends = ends_of_the_dead(trials, runs)
    time = running_time(rows, {number: seat.run for number, seat in seats.items()}, ends)
    ended = sorted((row for row in rows if row["datetime_complete"]), key=lambda row: row["datetime_complete"])
    improvements = list(_improvements(ended, time, maximize=maximize))
    numbers: dict[str | None, int] = {run.run: number for number, run in enumerate(runs, 1)}
    return Findings(
        name=study.study_name,
        maximize=maximize,
        rows=rows,
        ended=ended,
        parameters=[name for name in (rows[0] if rows else ()) if name.startswith("params_")],
        improvements=improvements,
        importances=_importances(study, sum(map(counts_as_result, rows))),
        proposing=proposing_of(rows),
        roles=roles_of(rows, (step.number for step in improvements)),
        failures=failures_of(rows),
        spending=spending_of(rows, untracked_charges(study.user_attrs).values()),
        runs=runs,
        timeline=timeline_of(rows, seats, time=time, ends=ends, numbers=numbers),
        seats=seats,
        models=list(dict.fromkeys(row["model"] for row in rows if isinstance(row["model"], str))),
        time=time,
    )


def _with_words(row: Row, trial: FrozenTrial) -> Row:
    """A row in which a choice of None differs from a parameter that the trial does not have."""
    return {**row, **{f"params_{name}": NONE for name, value in trial.params.items() if value is None}}


def counts_as_result(row: Row) -> bool:
    """Whether a trial may be the best: complete, within its constraints, and of a finite value."""
    return (
        row["state"] == "COMPLETE"
        and not row["infeasible"]
        and isinstance(row["value"], float | int)
        and math.isfinite(row["value"])
    )


def _improvements(ended: Sequence[Row], time: RunningTime, *, maximize: bool) -> Iterator[Improvement]:
    best: float | None = None
    cost: float | None = 0.0
    tokens = trials = 0
    for row in ended:
        trials += 1
        tokens += row["tokens"] or 0
        if row["calls"]:
            cost = None if cost is None or row["cost"] is None else cost + row["cost"]
        if not counts_as_result(row):
            continue
        value = float(row["value"])
        gain = None if best is None else (value - best if maximize else best - value)
        if gain is None or gain > 0:
            yield Improvement(
                number=row["number"],
                value=value,
                gain=gain,
                seconds=time.seconds(row["datetime_complete"]),
                cost=cost,
                tokens=tokens,
                trials=trials,
            )
            best, cost, tokens, trials = value, 0.0, 0, 0


def _importances(study: Study, results: int) -> Mapping[str, float] | None:
    """Optuna's importances by PED-ANOVA, the largest first; None where the study does not give them."""
    if results < FEWEST_FOR_IMPORTANCES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Target and region quantiles", category=UserWarning)
            return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError, UserWarning):  # no parameter that all trials have, or hardly two different values
        return None
