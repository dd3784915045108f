"""From measurements to statements: statistics of repeats, targets, and the table that is printed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .limits import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median of repeated measurements, with minimum and maximum."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How much later than due a loop ran a callback, in seconds."""

    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Seconds until every worker had begun, from there to the last begin, and from there to the end."""

    ramp: float
    steady: float
    drain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound that the median is held to."""

    sense: Literal[">=", "<=", "<"]
    bound: float

    def met_by(self, value: float) -> bool:
        match self.sense:
            case ">=":
                return value >= self.bound
            case "<=":
                return value <= self.bound
            case "<":
                return value < self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table. `unit`: "ratio" (limit over makespan), "times" (one measurement over another) or "ms"."""

    case: str
    unit: Literal["ratio", "times", "ms"]
    value: Spread
    target: Target | None = None
    notes: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met_by(self.value.median)


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(0, min(len(ordered), rank) - 1)]


def lag(values: Sequence[float]) -> Lag:
    """Of at least one sample, in seconds."""
    return Lag(p50=percentile(values, 0.5), p99=percentile(values, 0.99), worst=max(values))


def phases(timeline: Timeline, workers: int) -> Phases:
    """Ramp (first wave), steady state and drain (last wave) of a run."""
    full = timeline.begins[min(workers, len(timeline.begins)) - 1]
    last = timeline.begins[-1]
    return Phases(ramp=full, steady=last - full, drain=timeline.makespan - last)


def phase_notes(ideal: Sequence[Phases], measured: Sequence[Phases]) -> dict[str, float]:
    """Median of ideal over measured for each phase; left out where the ideal has none."""
    notes = {}
    for name in Phases.__slots__:
        pairs = [(getattr(best, name), getattr(real, name)) for best, real in zip(ideal, measured, strict=True)]
        if all(best > 0 and real > 0 for best, real in pairs):
            notes[name] = statistics.median(best / real for best, real in pairs)
    return notes


def table(results: Sequence[Result]) -> str:
    """Aligned text: case, median with minimum and maximum, target, whether it is met, notes."""
    cells = [("case", "median", "min", "max", "unit", "target", "met", "notes"), *map(_cells, results)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in cells)


def _cells(result: Result) -> tuple[str, ...]:
    value = result.value
    target = "-" if result.target is None else f"{result.target.sense} {result.target.bound:g}"
    met = {None: "-", True: "met", False: "NOT MET"}[result.met]
    notes = ", ".join(f"{name} {_number(note)}" for name, note in result.notes.items())
    return (result.case, *map(_number, (value.median, value.low, value.high)), result.unit, target, met, notes)


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    numeric = range(1, 4)
    return [
        cell.rjust(width) if column in numeric else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
