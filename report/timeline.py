"""Who was busy when: by worker where trials tell which one ran them, else packed as their times allow.

Workers of one run have lanes side by side. A run that starts when another has ended takes its lanes over. The time
between runs is left out.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..engine.study.attributes import run_of, worker_of
from .running_time import RunningTime

# No run has so many: a larger number is somebody's mistake, and would be that many empty lanes.
MOST_WORKERS: Final = 4_096

MODEL: Final = "model"
WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a trial ran, as far as it tells: in which run, and on which of its workers, from 0."""

    run: str | None
    worker: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What one worker did for a while, on its lane, counted from 0; times are seconds from the first start.

    `kind` is "model" (it waited for its next proposal), "waiting" (for anything else), or a trial's state. `worker` is
    its number within its run, and `run` the number of that on the page, None where these are not on record.
    """

    lane: int
    kind: str
    trial: int
    began: float
    ended: float
    run: int | None = None
    worker: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All stretches, run by run in order of evaluation, and seconds summed over workers.

    `busiest` is the largest number of trials that ran at once. `model_seconds` are those in which a worker had nothing
    to evaluate while its next trial was being proposed; `waiting_seconds` what else a worker waited between two trials
    of one run. `runs` are in order of their first starts. `recorded`: every trial says which worker ran it.
    """

    stretches: Sequence[Stretch]
    lanes: int
    runs: Sequence[str | None]
    busiest: int
    recorded: bool
    evaluating_seconds: float
    model_seconds: float
    waiting_seconds: float


NOWHERE: Final = Seat(run=None, worker=None)


def seat_of(trial: FrozenTrial) -> Seat:
    """Read where a trial ran; nothing is trusted to be there, or to be of its type."""
    worker = worker_of(trial)
    return Seat(run=run_of(trial), worker=worker if worker is not None and worker < MOST_WORKERS else None)


def timeline_of(
    rows: Sequence[Mapping[str, Any]],
    seats: Mapping[int, Seat],
    *,
    time: RunningTime,
    ends: Mapping[int, datetime],
    numbers: Mapping[str | None, int],
) -> Timeline:
    """Lay out the finished trials among these rows.

    `seats` are by the trial's number, and so are `ends` where they are others than on record; `numbers` are those of
    runs.
    """
    ran = sorted(
        (row for row in rows if row["datetime_start"] and row["datetime_complete"]),
        key=lambda row: (row["datetime_start"], row["number"]),
    )
    runs: dict[str | None, list[Stretch]] = {}
    for row in ran:
        seat = seats.get(row["number"], NOWHERE)
        end = ends.get(row["number"], row["datetime_complete"])
        part = _evaluation(row, time, end, seat.worker)
        runs.setdefault(seat.run, []).append(replace(part, run=numbers.get(seat.run)))
    laid = _stacked(list(_in_lanes(parts)) for parts in runs.values())
    latencies = {row["number"]: row["latency"] or 0.0 for row in ran}
    stretches = [part for parts in laid for part in _with_waiting(parts, latencies)]
    evaluations = [part for part in stretches if part.kind not in (MODEL, WAITING)]
    return Timeline(
        stretches=stretches,
        lanes=max((part.lane + 1 for part in stretches), default=0),
        runs=list(runs),
        busiest=_busiest(evaluations),
        recorded=all(part.worker is not None for part in evaluations),
        evaluating_seconds=_seconds(evaluations),
        model_seconds=_seconds(part for part in stretches if part.kind == MODEL),
        waiting_seconds=_seconds(part for part in stretches if part.kind == WAITING),
    )


def _evaluation(row: Mapping[str, Any], time: RunningTime, end: datetime, worker: int | None) -> Stretch:
    start = time.seconds(row["datetime_start"])
    ended = max(start, time.seconds(end))
    return Stretch(lane=0, kind=row["state"], trial=row["number"], began=start, ended=ended, worker=worker)


def _in_lanes(parts: Sequence[Stretch]) -> Iterator[Stretch]:
    """Give one run's trials the lane of their worker; others go beyond these, each to the first that is free."""
    lanes = max((part.worker + 1 for part in parts if part.worker is not None), default=0)
    free: list[int] = []
    busy: list[tuple[float, int]] = []  # when a lane will be free
    for part in parts:
        if part.worker is not None:
            yield replace(part, lane=part.worker)
            continue
        while busy and busy[0][0] <= part.began:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else lanes
        lanes = max(lanes, lane + 1)
        heapq.heappush(busy, (part.ended, lane))
        yield replace(part, lane=lane)


def _stacked(runs: Iterable[Sequence[Stretch]]) -> Iterator[list[Stretch]]:
    """Give each run the lowest lanes side by side that no run before it still has."""
    held: list[float] = []  # until when each lane is some run's
    for parts in runs:
        width, began = max(part.lane for part in parts) + 1, min(part.began for part in parts)
        taken = [lane for lane, until in enumerate(held) if until > began]
        starts = (0, *(lane + 1 for lane in taken))
        first = next(at for at in starts if not any(at <= lane < at + width for lane in taken))
        held.extend([0.0] * (first + width - len(held)))
        held[first : first + width] = [max(part.ended for part in parts)] * width
        yield [replace(part, lane=first + part.lane) for part in parts]


def _with_waiting(parts: Sequence[Stretch], latencies: Mapping[int, float]) -> Iterator[Stretch]:
    """Fill the gaps between one run's trials: each ends with waiting for the model, as long as the proposal took."""
    free_since: dict[int, float] = {}
    for part in parts:
        asked, since = part.began - latencies[part.trial], free_since.get(part.lane)
        if since is not None:
            asked = min(max(asked, since), part.began)
            if since < asked:
                yield replace(part, kind=WAITING, began=since, ended=asked)
        if asked < part.began:
            yield replace(part, kind=MODEL, began=asked, ended=part.began)
        yield part
        free_since[part.lane] = part.ended if since is None else max(since, part.ended)


def _busiest(parts: Sequence[Stretch]) -> int:
    most, ends = 0, list[float]()
    for part in sorted(parts, key=lambda part: part.began):
        while ends and ends[0] <= part.began:
            heapq.heappop(ends)
        heapq.heappush(ends, part.ended)
        most = max(most, len(ends))
    return most


def _seconds(parts: Iterable[Stretch]) -> float:
    return sum(part.ended - part.began for part in parts)
