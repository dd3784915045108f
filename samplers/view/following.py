"""How caches follow the finished trials of a study.

Trials are only ever added, each at its place by completion: one that another process finished a moment before ours,
and that we see after it, shifts ours by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from itertools import compress, count
from operator import is_not

from optuna.trial import FrozenTrial

from ...engine.records import Charge
from ...engine.study.attributes import charge_of, llm_of, untracked_charges
from ...engine.study.snapshot import Snapshot

# A late trial overtakes those that finished between two readings, some tens with hundreds of workers. To undo and add
# these again is far cheaper than to add a long history anew.
UNDO_DEPTH = 128


def common_prefix(known: Sequence[FrozenTrial], finished: Sequence[FrozenTrial], length: int) -> int:
    """How many of the first `length` trials are the same in both.

    Only the end is compared: a trial that has the same place in both has the same ones before it.
    """
    while length and known[length - 1] is not finished[length - 1]:
        length -= 1
    return length


def common_ends(known: Sequence[object], now: Sequence[object]) -> tuple[int, int]:
    """How many of the first, and how many of the other last ones, are the same objects in both."""
    most = min(len(known), len(now))
    first = next(compress(count(), map(is_not, known, now)), most)
    last = next(compress(count(), map(is_not, reversed(known), reversed(now))), most)
    return first, min(last, most - first)


class Following(ABC):
    """Follows the finished trials of a study in their order, and adds each once.

    When a trial is seen late, those after it are undone first. When they are too many, all are added anew.
    """

    known: int
    """How many trials were added."""

    _trials: Sequence[FrozenTrial]
    _undoable: int

    def __init__(self) -> None:
        self._restart()

    def known_prefix(self, finished: Sequence[FrozenTrial], until: int | None = None) -> int:
        """Count the first trials, up to `until`, that this cache already holds; 0 means that it must be rebuilt."""
        same = common_prefix(self._trials, finished, min(self.known, len(finished) if until is None else until))
        return same if self.known - same <= self._undoable else 0

    def update(self, finished: Sequence[FrozenTrial], until: int | None = None) -> None:
        """Add the first `until` of a snapshot's finished trials, or all."""
        end = len(finished) if until is None else until
        start = self.known_prefix(finished, end)
        if not start:
            self._restart()
        while self.known > start:
            self.known -= 1
            self._undoable -= 1
            self._undo(self._trials[self.known])
        self._trials = tuple(finished)
        while self.known < end:
            self._add(self._trials[self.known])
            self.known += 1
            self._undoable = min(UNDO_DEPTH, self._undoable + 1)

    def _restart(self) -> None:
        self._trials = ()
        self.known = self._undoable = 0
        self._clear()

    @abstractmethod
    def _clear(self) -> None:
        """Forget all trials."""

    @abstractmethod
    def _add(self, trial: FrozenTrial) -> None:
        """Add the trial at index `known`."""

    @abstractmethod
    def _undo(self, trial: FrozenTrial) -> None:
        """Undo `_add` for the trial at index `known`, the last one that was added."""


class OtherSpending(Following):
    """Sums up what others spent on a study: other processes, earlier runs, other samplers.

    It is read from trials, and from what the study says was spent without one, less what `runs` spent.
    """

    def __init__(self, runs: Set[str]) -> None:
        self._runs = runs
        super().__init__()

    def at(self, snapshot: Snapshot) -> Charge:
        """Sum up as of `snapshot`."""
        self.update(snapshot.finished)
        untracked = untracked_charges(snapshot.attributes)
        charges = (charge for token, charge in untracked.items() if token not in self._runs)
        open_trials = map(self._of, (*snapshot.running, *snapshot.waiting, *snapshot.unevaluated))
        return sum((*open_trials, *charges), self._finished)

    def _clear(self) -> None:
        self._finished = Charge()

    def _add(self, trial: FrozenTrial) -> None:
        self._finished += self._of(trial)

    def _undo(self, trial: FrozenTrial) -> None:
        self._finished -= self._of(trial)

    def _of(self, trial: FrozenTrial) -> Charge:
        llm = llm_of(trial)
        run = llm.get("run")
        return Charge() if isinstance(run, str) and run in self._runs else charge_of(llm)
