"""How caches follow the finished trials of a study.

Trials are only ever added, each at its place by completion: one that another process finished a moment before ours,
and that we see after it, shifts ours by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial

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


class Following(ABC):
    """Follows the finished trials of a study in their order, and adds each once.

    When a trial is seen late, those after it are undone first. When they are too many, all are added anew.
    """

    known: int
    """How many trials were added."""

    _trials: Sequence[FrozenTrial]

    def __init__(self) -> None:
        self._restart()

    def known_prefix(self, finished: Sequence[FrozenTrial]) -> int:
        """Length of the prefix of `finished` that this cache already holds; 0 means that it must be rebuilt."""
        return self._same(finished, len(finished))

    def update(self, finished: Sequence[FrozenTrial], until: int | None = None) -> None:
        """Add the first `until` of a snapshot's finished trials, or all."""
        end = len(finished) if until is None else until
        start = self._same(finished, end)
        if not start:
            self._restart()
        while self.known > start:
            self.known -= 1
            self._undo(self._trials[self.known])
        self._trials = tuple(finished)
        while self.known < end:
            self._add(self._trials[self.known])
            self.known += 1

    def _same(self, finished: Sequence[FrozenTrial], end: int) -> int:
        same = common_prefix(self._trials, finished, min(self.known, end))
        return same if self.known - same <= self._undo_depth else 0

    @property
    def _undo_depth(self) -> int:
        """How many trials can be undone at this moment."""
        return UNDO_DEPTH

    def _restart(self) -> None:
        self._trials, self.known = (), 0
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


class UnseenTrials:
    """Gives each finished trial once, to caches for which the order does not matter."""

    def __init__(self) -> None:
        self._last: Sequence[FrozenTrial] = ()
        self._until = 0
        self._numbers: set[int] = set()

    def known_prefix(self, finished: Sequence[FrozenTrial]) -> int:
        """Length of a prefix of `finished` that was given for sure; later ones may have been."""
        return common_prefix(self._last, finished, min(self._until, len(finished)))

    def among(self, finished: Sequence[FrozenTrial], until: int | None = None) -> Iterator[FrozenTrial]:
        """Those of the first `until` trials, or of all, that were not given before.

        A trial counts as given once the next one is asked for.
        """
        end = len(finished) if until is None else until
        known = self.known_prefix(finished)
        for index in range(known, end):
            trial = finished[index]
            if trial.number not in self._numbers:
                yield trial
                self._numbers.add(trial.number)
        if known < end:
            self._last, self._until = tuple(finished), end
