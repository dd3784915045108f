"""The history of a study, which looks at each finished trial once."""

import bisect
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ..records import EMPTY
from .attributes import is_unevaluated, violations_of
from .ranges import KnownRange

# How far the clocks of hosts may be apart. A trial that is said to have finished later than this from now would stand
# after all that finish meanwhile, and hide them: it counts as finished when it is first read.
CLOCKS_APART: Final = datetime.timedelta(minutes=1)


def completed_at(trial: FrozenTrial) -> datetime.datetime:
    """When a trial is said to have finished, in local time without a zone, as Optuna's times are."""
    at = trial.datetime_complete or datetime.datetime.max  # noqa: DTZ901
    return at if at.tzinfo is None else at.astimezone().replace(tzinfo=None)


def _n_whole(trials: Sequence[FrozenTrial]) -> int:
    """How many trials there are before the first gap in their numbers."""
    if not trials or trials[-1].number == len(trials) - 1:
        return len(trials)
    return bisect.bisect_left(range(len(trials)), True, key=lambda place: trials[place].number > place)


class History:
    """The trials of a study, taken in reading by reading; any sequence of readings ends as its last one alone.

    Only where trials that are dated ahead stand depends on when they were first read.
    """

    def __init__(self, clock: Callable[[], datetime.datetime] = datetime.datetime.now) -> None:
        self._clock = clock
        self._read_at: dict[int, datetime.datetime] = {}  # when finished trials that are dated ahead were first read
        self.finished: tuple[FrozenTrial, ...] = ()
        self.running: tuple[FrozenTrial, ...] = ()
        self.waiting: tuple[FrozenTrial, ...] = ()
        self.unevaluated: tuple[FrozenTrial, ...] = ()
        self.lowest: FrozenTrial | None = None  # of the complete trials that keep their constraints
        self.highest: FrozenTrial | None = None
        self.space: Mapping[str, BaseDistribution] = EMPTY
        self._open: dict[int, FrozenTrial] = {}
        self._seen = 0
        self._first: dict[str, tuple[int, int]] = {}  # where each name was first met: trial number, position
        self._ranges: dict[str, KnownRange] = {}
        self._n_known: dict[int, int] = {}  # how many parameters of an open trial are in the space

    def extend(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in a reading of all trials, ordered by number from 0; skips one that is older than the last.

        Nothing from a gap on is taken in, or a trial would be lost for good: the next reading has it. Optuna's cache of
        a database gives such readings while this process stores a trial on another thread, just after another process.
        """
        n_whole = _n_whole(trials)
        if n_whole < self._seen:
            return
        changed = [trials[number] for number in (*self._open, *range(self._seen, n_whole))]
        self._seen = n_whole
        self._update(changed)

    def extend_one(self, trial: FrozenTrial) -> bool:
        """Take in a reading of one trial; False if trials before it are unknown, so that all must be read."""
        if trial.number > self._seen:
            return False
        if trial.number == self._seen or trial.number in self._open:
            self._seen = max(self._seen, trial.number + 1)
            self._update([trial])
        return True

    def _update(self, changed: list[FrozenTrial]) -> None:
        """Take in trials that were not finished when they were last read."""
        done = [trial for trial in changed if trial.state.is_finished()]
        for trial in changed:
            self._open[trial.number] = trial
        for trial in done:
            del self._open[trial.number]
        # By number: trials are met in that order, and keep their place.
        pending = self._open.values()
        if self.waiting or any(trial.state is TrialState.WAITING for trial in changed):
            self.waiting = tuple([trial for trial in pending if trial.state is TrialState.WAITING])
        self.running = tuple([t for t in pending if t.state is TrialState.RUNNING] if self.waiting else pending)
        unevaluated = {trial.number: trial for trial in done if is_unevaluated(trial)}
        self.unevaluated += tuple(unevaluated.values())
        self._append([trial for trial in done if trial.number not in unevaluated])
        self._compare(done)
        self._extend_space(changed)
        for trial in done:
            self._n_known.pop(trial.number, None)

    def _append(self, done: list[FrozenTrial]) -> None:
        if not done:
            return  # the same tuple: caches know it again
        now = self._clock()
        self._read_at |= {trial.number: now for trial in done if completed_at(trial) > now + CLOCKS_APART}
        done.sort(key=self._order)
        if not self.finished or self._order(self.finished[-1]) <= self._order(done[0]):
            self.finished = (*self.finished, *done)
            return
        merged = list(self.finished)
        for trial in done:  # another process finished it earlier than something we saw sooner
            bisect.insort(merged, trial, key=self._order)
        self.finished = tuple(merged)

    def _order(self, trial: FrozenTrial) -> tuple[datetime.datetime, int]:
        """Sort key of finished trials: when they finished, then their number."""
        return self._read_at.get(trial.number) or completed_at(trial), trial.number

    def _compare(self, done: list[FrozenTrial]) -> None:
        """Keep the extremes; of equals the first, as Optuna does."""
        for trial in done:
            value = trial.value
            if trial.state is TrialState.COMPLETE and value is not None and not violations_of(trial):
                if self.lowest is None or value < self.lowest.value:  # type: ignore[operator]  # it is complete
                    self.lowest = trial
                if self.highest is None or value > self.highest.value:  # type: ignore[operator]
                    self.highest = trial

    def _extend_space(self, changed: list[FrozenTrial]) -> None:
        """Take in the distributions of trials, whose parameters only ever grow."""
        grown = [trial for trial in changed if self._n_known.get(trial.number, 0) < len(trial.distributions)]
        for trial in grown:
            self._n_known[trial.number] = len(trial.distributions)
            for position, (name, distribution) in enumerate(trial.distributions.items()):
                here = (trial.number, position)
                self._first[name] = min(here, self._first.get(name, here))
                self._ranges.setdefault(name, KnownRange()).add(trial.number, distribution)
        if grown:
            names = sorted(self._first, key=self._first.__getitem__)
            space = {name: self._ranges[name].distribution() for name in names}
            if list(space.items()) != list(self.space.items()):  # else the same object: caches know it again
                self.space = space
