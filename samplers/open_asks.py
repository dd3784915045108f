"""The asks of a study that are being answered: each sees the regions and the candidates of the others."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from weakref import WeakKeyDictionary

from ..engine.study.snapshot import Snapshot
from .ask import Ask
from .guidance.strategy import Guidance, OpenAsk, Situation
from .view.view import StudyView, View


class OpenAsks:
    """Asks of one study with one set of columns; used on the LLM loop alone."""

    def __init__(self, study: StudyView, latest: Callable[[], Snapshot]) -> None:
        self._study = study
        self.latest = latest
        self._open: dict[int, OpenAsk] = {}
        # One ask at a time updates the view and reads it. A lock for each loop: after a fork there is a new one.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def view(self, n_rows: int) -> AsyncIterator[View]:
        """The study at this moment, for one ask at a time; `n_rows` of its history will be shown.

        Yields to the loop before each entry: a wave of asks, or of replies, would hold up timers and connections until
        the last of them is dealt with.
        """
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await asyncio.sleep(0)  # those that come meanwhile wait, and do not follow in the same turn
            yield await self._study.catch_up(self.latest, n_rows)

    def situation(self, ask: Ask, view: View) -> Situation:
        """What a strategy sees of one ask at this moment."""
        known = len(view.snapshot.finished) + len(view.in_flight) + len(self._open)
        first = known if ask.number is None else ask.number
        return Situation(
            space=ask.space,
            direction=ask.direction,
            evidence=view.evidence,
            in_flight=view.in_flight,
            open=tuple(self._open.values()),
            fixed=ask.fixed,
            ordinal=next(ordinal for ordinal in itertools.count(first) if ordinal not in self._open),
            share=view.snapshot.share,
            proposed=view.evidence.proposed + sum(other.proposed for other in view.in_flight) + len(self._open),
            seed=ask.seed or 0,
        )

    @contextmanager
    def guided(self, ask: Ask, view: View) -> Iterator[Guidance]:
        """The guidance of one ask, which is open to the eyes of other asks while this is entered."""
        situation, axes = self.situation(ask, view), view.evidence.axes
        guidance = ask.strategy.guide(situation)
        if guidance.menu and not guidance.region:
            guidance = replace(guidance, region=axes.spanned(guidance.menu))
        self._open[situation.ordinal] = OpenAsk(
            region=guidance.region, places=axes.center(guidance.region), offered=guidance.offered
        )
        try:
            yield guidance
        finally:
            del self._open[situation.ordinal]
