"""How caches follow the finished trials of a study.

Trials are only ever added, each at its place by completion: one that another process finished a moment before ours,
and that we see after it, shifts ours by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

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
    _undoable: int

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
            self._undoable -= 1
            self._undo(self._trials[self.known])
        self._trials = tuple(finished)
        while self.known < end:
            self._add(self._trials[self.known])
            self.known += 1
            self._undoable = min(UNDO_DEPTH, self._undoable + 1)

    def _same(self, finished: Sequence[FrozenTrial], end: int) -> int:
        same = common_prefix(self._trials, finished, min(self.known, end))
        return same if self.known - same <= self._undoable else 0

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
