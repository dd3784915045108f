"""How caches follow the finished trials of a study.

Trials are only ever added, each at its place by completion: one that another process finished a moment before ours,
and that we see after it, shifts ours by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial

TAKEN_BACK = 128
"""So many of the newest trials a cache can take back, to put one that was seen late before them."""


def agreed(known: Sequence[FrozenTrial], finished: Sequence[FrozenTrial], length: int) -> int:
    """How many of the first `length` trials are the same in both.

    Only the end is looked at: a trial that stands at the same place in both has the same ones before it.
    """
    while length and known[length - 1] is not finished[length - 1]:
        length -= 1
    return length


class Following(ABC):
    """Follows the finished trials of a study in their order: each is looked at once.

    Where one is seen late, those after it are taken back first; where they are too many, all starts anew.
    """

    known: int
    """How many trials were taken in."""

    _trials: Sequence[FrozenTrial]

    def __init__(self) -> None:
        self._start_anew()

    def stands(self, finished: Sequence[FrozenTrial]) -> int:
        """How many of the finished trials of a snapshot need not be looked at again; 0 if it must start anew."""
        return self._same(finished, len(finished))

    def update(self, finished: Sequence[FrozenTrial], until: int | None = None) -> None:
        """Take in the first `until` of a snapshot's finished trials, or all."""
        end = len(finished) if until is None else until
        start = self._same(finished, end)
        if not start:
            self._start_anew()
        while self.known > start:
            self.known -= 1
            self._take_back(self._trials[self.known])
        self._trials = tuple(finished)
        while self.known < end:
            self._add(self._trials[self.known])
            self.known += 1

    def _same(self, finished: Sequence[FrozenTrial], end: int) -> int:
        same = agreed(self._trials, finished, min(self.known, end))
        return same if self.known - same <= self._reach else 0

    @property
    def _reach(self) -> int:
        """How many trials can be taken back at this moment."""
        return TAKEN_BACK

    def _start_anew(self) -> None:
        self._trials, self.known = (), 0
        self._clear()

    @abstractmethod
    def _clear(self) -> None:
        """Forget all."""

    @abstractmethod
    def _add(self, trial: FrozenTrial) -> None:
        """Take in the trial at index `known`."""

    @abstractmethod
    def _take_back(self, trial: FrozenTrial) -> None:
        """Undo `_add` for the trial at index `known`, the last one that was taken in."""


class Unseen:
    """Each finished trial once, for those to whom the order does not matter."""

    def __init__(self) -> None:
        self._last: Sequence[FrozenTrial] = ()
        self._until = 0
        self._numbers: set[int] = set()

    def known(self, finished: Sequence[FrozenTrial]) -> int:
        """How many trials at the beginning are known to be seen; those after them may be."""
        return agreed(self._last, finished, min(self._until, len(finished)))

    def among(self, finished: Sequence[FrozenTrial], until: int) -> Iterator[FrozenTrial]:
        """Those of the first `until` trials that were not seen before; each is seen once the next one is asked for."""
        known = self.known(finished)
        for index in range(known, until):
            trial = finished[index]
            if trial.number not in self._numbers:
                yield trial
                self._numbers.add(trial.number)
        if known < until:
            self._last, self._until = tuple(finished), until
