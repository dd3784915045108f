"""What the trials of a study say of one range, which may depend on other parameters, or have been edited."""

import bisect
from copy import copy
from typing import Any, Final

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from ..errors import UsageError
from .distributions import check_search_space

# A range that has been the same in so many trials in a row, and never before that, was edited: what was allowed before
# counts no more. With fewer, a range that depends on another parameter would be taken for an edited one by chance.
SETTLED: Final = 3


class KnownRange:
    """The distributions that the trials of a study had of one parameter; the order of the readings does not count."""

    def __init__(self) -> None:
        self._newest: list[tuple[int, BaseDistribution]] = []  # of the last trials, by number
        self._spans: dict[Any, tuple[int, int]] = {}  # the first and the last trial that had each range
        self._bounds: dict[Any, tuple[float, float]] = {}  # the lowest low and the highest high of all of one kind

    def add(self, number: int, distribution: BaseDistribution) -> None:
        """Take in what a trial had; adding it again changes nothing."""
        newest = self._newest
        if not newest or number > newest[-1][0]:
            newest.append((number, distribution))
        elif all(known != number for known, _ in newest):
            bisect.insort(newest, (number, distribution), key=lambda entry: entry[0])
        del newest[:-SETTLED]
        if isinstance(distribution, FloatDistribution | IntDistribution):
            self._add_range(number, distribution)

    def _add_range(self, number: int, distribution: FloatDistribution | IntDistribution) -> None:
        key, low, high = _range(distribution), distribution.low, distribution.high
        span = self._spans.get(key)
        if span is None:
            kind = _kind(distribution)
            lowest, highest = self._bounds.get(kind, (low, high))
            self._bounds[kind] = min(lowest, low), max(highest, high)
            self._spans[key] = number, number
        elif not span[0] <= number <= span[1]:
            self._spans[key] = min(span[0], number), max(span[1], number)

    def distribution(self) -> BaseDistribution:
        """All that was ever allowed, as far as it is of the newest kind; only the newest where the range was edited."""
        newest = self._newest[-1][1]
        if len(self._spans) < 2 or not isinstance(newest, FloatDistribution | IntDistribution):
            return newest
        if self._is_settled(newest):
            return newest
        joined = copy(newest)
        joined.low, joined.high = self._bounds[_kind(newest)]
        try:
            check_search_space({"": joined})
        except UsageError:  # no float can hold it, although both parts can be held
            return newest
        return newest if joined == newest else joined

    def _is_settled(self, newest: FloatDistribution | IntDistribution) -> bool:
        if len(self._newest) < SETTLED or any(other != newest for _, other in self._newest):
            return False
        key = _range(newest)
        since = self._spans[key][0]
        return all(last < since for other, (_, last) in self._spans.items() if other != key)


def _range(distribution: FloatDistribution | IntDistribution) -> Any:
    """Equal for equal ranges, and quicker than comparing them."""
    return type(distribution), distribution.low, distribution.high, distribution.log, distribution.step


def _kind(distribution: FloatDistribution | IntDistribution) -> Any:
    """Equal for ranges that can be joined: of one scale, and on one grid."""
    if isinstance(distribution, IntDistribution):
        offset: float = distribution.low % distribution.step
    else:
        offset = 0.0 if distribution.step is None else distribution.low  # remainders of floats are not exact
    return type(distribution), distribution.log, distribution.step, offset
