"""What is remembered of a study between asks: caches that all follow from it, and the asks that are open."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from optuna.trial import FrozenTrial

from ..engine.records import Params
from ..engine.study.snapshot import Snapshot
from .guidance.strategy import Guidance, OpenAsk, Situation
from .question import Question
from .view.duplicates import Clash, Index, exhausted, find_clash
from .view.finished_rows import Digest
from .view.in_flight_rows import Flight
from .view.observations import Evidence

SLICE = 25  # finished trials taken in and formatted at once: 2 ms at 10 parameters


class Cache(Protocol):
    """What follows from the finished trials, and is kept up as they come."""

    def stands(self, finished: Sequence[FrozenTrial], /) -> int:
        """How many of them need not be looked at again."""

    def update(self, finished: Sequence[FrozenTrial], until: int | None = None, /) -> None:
        """Take the first `until` of them in, or all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known of the study: a view that is always current, and caches that follow from it."""

    latest: Callable[[], Snapshot]
    digest: Digest
    flight: Flight
    index: Index
    evidence: Evidence
    open: dict[int, OpenAsk] = field(default_factory=dict)
    _locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(default_factory=WeakKeyDictionary)

    @property
    def _caches(self) -> tuple[Cache, ...]:
        return self.digest, self.index, self.evidence

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Only one at a time gets here, and in a turn of the loop of its own.

        A wave of asks, or of replies, would hold up timers and connections until the last of them is dealt with.
        """
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await asyncio.sleep(0)  # those that come meanwhile wait, and do not follow in the same turn
            yield

    async def catch_up(self, shown: int) -> Snapshot:
        """The latest snapshot, of whose history the last `shown` rows will be formatted.

        What is new of it is taken in and formatted by slices: a long history must not hold the loop.
        """
        while (lacking := self._lacking(self.latest().finished)) > 1:  # one leaves time for its ask's guidance
            self._take_in(self.latest().finished, shown)
            await asyncio.sleep(0)
            if lacking <= SLICE:
                break
        return self.latest()

    def _lacking(self, finished: Sequence[FrozenTrial]) -> int:
        """How many of the finished trials some cache has to look at."""
        return len(finished) - min(cache.stands(finished) for cache in self._caches)

    def _take_in(self, finished: Sequence[FrozenTrial], shown: int) -> None:
        """A slice of what each cache has to look at: one may be ahead of another, or had to start anew."""
        first = self.digest.stands(finished)
        for cache in self._caches:
            cache.update(finished, min(len(finished), cache.stands(finished) + SLICE))
        if len(finished) - self.digest.known < shown:
            self.digest.rows(first)

    def clash(self, params: Params, *, union: bool) -> Clash | None:
        """What `params` repeat, at this moment."""
        snapshot = self.latest()
        return find_clash(params, self.flight.update(snapshot), snapshot.finished, self.index, union=union)

    def situation(self, question: Question, snapshot: Snapshot) -> Situation:
        """What a strategy sees of one ask at this moment."""
        self.evidence.update(snapshot.finished)
        flying = self.flight.update(snapshot)
        known = len(snapshot.finished) + len(flying) + len(self.open)
        first = known if question.number is None else question.number
        return Situation(
            space=question.space,
            direction=question.direction,
            evidence=self.evidence,
            in_flight=flying,
            open=tuple(self.open.values()),
            fixed=question.fixed,
            ordinal=next(ordinal for ordinal in itertools.count(first) if ordinal not in self.open),
            share=snapshot.share,
            proposed=self.evidence.proposed + sum(other.proposed for other in flying) + len(self.open),
            seed=question.seed or 0,
        )

    @contextlib.contextmanager
    def asking(self, question: Question, snapshot: Snapshot) -> Iterator[Guidance]:
        """The guidance of one ask; its region is open, for other asks to stay out of, while this is entered."""
        situation = self.situation(question, snapshot)
        axes = self.evidence.axes
        guidance = question.strategy.guide(situation)
        if guidance.menu and not guidance.region:
            guidance = replace(guidance, region=axes.spanned(guidance.menu))
        self.open[situation.ordinal] = OpenAsk(
            region=guidance.region, places=axes.center(guidance.region), offered=guidance.offered
        )
        try:
            yield guidance
        finally:
            del self.open[situation.ordinal]

    def exhausted(self, snapshot: Snapshot) -> bool:
        """Whether a finite space holds nothing new."""
        return exhausted(self.flight.update(snapshot), snapshot.finished, self.index)
