"""The history of a study, which looks at each finished trial once."""

import bisect
import datetime
from collections.abc import Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ..records import EMPTY
from .attributes import is_surplus


def completion_order(trial: FrozenTrial) -> tuple[datetime.datetime, int]:
    """Sort key of finished trials: when they finished, then their number."""
    return trial.datetime_complete or datetime.datetime.max, trial.number  # noqa: DTZ901 (Optuna's times are naive)


class History:
    """The trials of a study, taken in reading by reading; any sequence of readings ends as its last one alone."""

    def __init__(self) -> None:
        self.finished: tuple[FrozenTrial, ...] = ()
        self.running: tuple[FrozenTrial, ...] = ()
        self.waiting: tuple[FrozenTrial, ...] = ()
        self.surplus: tuple[FrozenTrial, ...] = ()
        self.space: Mapping[str, BaseDistribution] = EMPTY
        self._open: dict[int, FrozenTrial] = {}
        self._seen = 0
        self._first: dict[str, tuple[int, int]] = {}  # where each name was first met: trial number, position
        self._newest: dict[str, tuple[int, BaseDistribution]] = {}  # the last trial that has it, and its distribution
        self._n_known: dict[int, int] = {}  # how many parameters of an open trial are in the space

    def extend(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in a reading of all trials, ordered by number from 0; skips one that is older than the last."""
        if len(trials) < self._seen:
            return
        changed = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        self._seen = len(trials)
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
        pending = self._open.values()  # by number: trials are met in that order, and keep their place
        self.running = tuple(trial for trial in pending if trial.state is TrialState.RUNNING)
        self.waiting = tuple(trial for trial in pending if trial.state is TrialState.WAITING)
        surplus = {trial.number: trial for trial in done if is_surplus(trial)}
        self.surplus += tuple(surplus.values())
        self._append([trial for trial in done if trial.number not in surplus])
        self._extend_space(changed)
        for trial in done:
            self._n_known.pop(trial.number, None)

    def _append(self, done: list[FrozenTrial]) -> None:
        if not done:
            return  # the same tuple: caches know it again
        done.sort(key=completion_order)
        if not self.finished or completion_order(self.finished[-1]) <= completion_order(done[0]):
            self.finished = (*self.finished, *done)
            return
        merged = list(self.finished)
        for trial in done:  # another process finished it earlier than something we saw sooner
            bisect.insort(merged, trial, key=completion_order)
        self.finished = tuple(merged)

    def _extend_space(self, changed: list[FrozenTrial]) -> None:
        """Take in the distributions of trials, whose parameters only ever grow."""
        grown = [trial for trial in changed if self._n_known.get(trial.number, 0) < len(trial.distributions)]
        for trial in grown:
            self._n_known[trial.number] = len(trial.distributions)
            for position, (name, distribution) in enumerate(trial.distributions.items()):
                here = (trial.number, position)
                self._first[name] = min(here, self._first.get(name, here))
                if self._newest.get(name, here)[0] <= trial.number:
                    self._newest[name] = trial.number, distribution
        if grown:
            space = {name: self._newest[name][1] for name in sorted(self._first, key=self._first.__getitem__)}
            if list(space.items()) != list(self.space.items()):  # else the same object: caches know it again
                self.space = space
