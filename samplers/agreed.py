"""What two views of the finished trials have in common.

Trials are only ever added, each at its place by completion: one that another process finished a moment before ours,
and that we see after it, shifts ours by one.
"""

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
