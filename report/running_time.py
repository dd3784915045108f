"""The time in which a study was worked on: what lies between two of its runs is on no axis of times."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from optuna.trial import FrozenTrial

from ..engine.fleet.runs import RunRecord
from ..engine.study.attributes import is_reaped, run_of

# What is shorter is a run that begins when another ends: one script, two calls.
SHORTEST_GAP: Final = timedelta(seconds=1)
# Of a model's latency before a run's first trial; a longer one is somebody's mistake.
LONGEST_LATENCY: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time, in local time without a zone."""

    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTime:
    """When runs went on: `spans` in their order, apart from each other. Counted from the `first` start of a trial."""

    spans: Sequence[Span] = ()
    first: datetime | None = None

    def seconds(self, at: datetime) -> float:
        """Seconds of running from the first start until then; below 0 before it."""
        return 0.0 if self.first is None else (self._until(local(at)) - self._until(self.first)).total_seconds()

    def seams(self) -> list[float]:
        """Where time between runs is left out, in the same seconds."""
        return [self.seconds(span.ended) for span in self.spans[:-1]]

    def _until(self, at: datetime) -> timedelta:
        begin, end = self.spans[0].began, self.spans[-1].ended
        within = (min(at, span.ended) - span.began for span in self.spans if span.began < at)
        return sum(within, timedelta()) + min(at - begin, timedelta()) + max(at - end, timedelta())


def local(at: datetime) -> datetime:
    """A time without its zone, as Optuna's are."""
    return at if at.tzinfo is None else at.astimezone().replace(tzinfo=None)


def running_time(
    rows: Iterable[Mapping[str, Any]], runs: Mapping[int, str | None], ends: Mapping[int, datetime]
) -> RunningTime:
    """The time from the first to the last trial of each run; `runs` and `ends` are by a trial's number.

    Trials of no run belong together as long as no run begins between them.
    """
    ran = [(row, local(row["datetime_start"])) for row in rows if row["datetime_start"] and row["datetime_complete"]]
    spans: dict[object, Span] = {}
    run: object = None
    for row, start in sorted(ran, key=lambda one: one[1]):
        number, before = row["number"], run
        run = runs.get(number)
        if run is None:
            run = before if isinstance(before, datetime) else start
        latency = timedelta(seconds=min(row["latency"] or 0.0, LONGEST_LATENCY))
        end = max(start, local(ends.get(number, row["datetime_complete"])))
        known = spans.get(run, Span(began=start - latency, ended=end))
        spans[run] = Span(began=min(known.began, start - latency), ended=max(known.ended, end))
    return RunningTime(spans=[*_apart(spans.values())], first=min((start for _, start in ran), default=None))


def _apart(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans in order, those that overlap or almost meet as one."""
    last: Span | None = None
    for span in sorted(spans, key=lambda span: span.began):
        if last is not None and span.began - last.ended >= SHORTEST_GAP:
            yield last
            last = None
        last = span if last is None else Span(began=last.began, ended=max(last.ended, span.ended))
    if last is not None:
        yield last


def ends_of_the_dead(trials: Sequence[FrozenTrial], runs: Iterable[RunRecord]) -> dict[int, datetime]:
    """Until when the trials of runs that died can have run: until the last sign of life of their run, by number.

    On record they ended when another run found them, perhaps days later.
    """
    reaped = [trial for trial in trials if is_reaped(trial) and trial.datetime_start and trial.datetime_complete]
    dead = {run_of(trial) for trial in reaped}
    signs: dict[str | None, list[datetime]] = {run.run: [run.ended] for run in runs if run.ended and run.run in dead}
    for trial in trials:
        if (run := run_of(trial)) in dead:
            told = None if is_reaped(trial) else trial.datetime_complete
            signs.setdefault(run, []).extend(local(at) for at in (trial.datetime_start, told) if at)
    return {trial.number: _last(signs[run_of(trial)], trial) for trial in reaped}


def _last(signs: Iterable[datetime], trial: FrozenTrial) -> datetime:
    """The last of these times at which a reaped trial can have run."""
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    start, found = local(trial.datetime_start), local(trial.datetime_complete)
    return max((at for at in signs if start <= at <= found), default=start)
