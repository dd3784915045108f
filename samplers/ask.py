"""Asks: what one is about, and those of a study that are being answered, each of which sees the others."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Self
from weakref import WeakKeyDictionary

from optuna.study import StudyDirection

from ..engine.records import Params
from ..engine.study.snapshot import Snapshot
from .guidance.strategy import Guidance, OpenAsk, Situation, Strategy
from .prompt.messages import Subject
from .prompt.policy import ContextPolicy
from .space.space import Space
from .turns import Turns
from .view.view import StudyView, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to choose, what is fixed, and everything that the prompt and the verdict on a reply depend on.

    `space` is what the model chooses, `fixed` what it is told, `columns` what it is shown of every trial. `model` names
    the model for provenance and errors. `number` is the trial's, if there is one already, and `earlier` what that trial
    has on record of calls before. `conditional`: a trial suggests only some of the parameters. `left`: how many
    proposals are to come, this one included, None where no end is known. `patience`: how long a pause that the provider
    asks for may be, in seconds. `stop_when_exhausted`: raise `SpaceExhausted` when a finite space holds nothing new,
    instead of proposing a duplicate.
    """

    columns: Space
    space: Space
    direction: StudyDirection
    subject: Subject
    policy: ContextPolicy
    strategy: Strategy
    model: str = ""
    fixed: Params = field(default_factory=dict)
    seed: int | None = None
    max_reasks: int = 2
    number: int | None = None
    earlier: Mapping[str, Any] | None = None
    conditional: bool = False
    left: int | None = None
    patience: float | None = None
    stop_when_exhausted: bool = False


class OpenAsks:
    """The asks of one study, with one set of columns, that are being answered; used on the LLM loop alone."""

    def __init__(self, study: StudyView, latest: Callable[[], Snapshot]) -> None:
        self.study = study
        self.latest = latest
        self._open: dict[int, OpenAsk] = {}
        self._free: list[int] = []  # places among the open asks that are free again, as a heap
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()

    @property
    def turns(self) -> Turns:
        """Whose turn it is to update the view and read it; for each loop its own, since a fork begins a new one."""
        return self._turns.setdefault(asyncio.get_running_loop(), Turns())

    async def latest_view(self, ask: Ask) -> View:
        """The study at this moment, to be read within a turn."""
        return await self.study.catch_up(self.latest, ask.policy.history)

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
            is_known=lambda params: view.find_duplicate(params, conditional=ask.conditional) is not None,
            fixed=ask.fixed,
            ordinal=next(ordinal for ordinal in itertools.count(first) if ordinal not in self._open),
            share=view.snapshot.share,
            proposed=view.evidence.proposed + sum(map(attrgetter("proposed"), view.in_flight)) + len(self._open),
            proposals_left=ask.left,
            seed=ask.seed or 0,
        )

    def open(self, ask: Ask, view: View) -> "Opened":
        """One ask with its guidance; until it is closed, others see its candidates, and that it is open."""
        place = heapq.heappop(self._free) if self._free else len(self._open)  # the lowest: those below it are open
        try:
            situation = self.situation(ask, view)
            guidance = ask.strategy.guide(situation)
            one = OpenAsk(
                position=1 + situation.share.place + place * situation.share.processes,
                offered=[view.evidence.axes.places(candidate) for candidate in guidance.candidates],
            )
        except BaseException:
            heapq.heappush(self._free, place)
            raise
        self._open[situation.ordinal] = one
        return Opened(asks=self, ordinal=situation.ordinal, place=place, position=one.position, guidance=guidance)

    def decline(self, opened: "Opened") -> None:
        """The ask goes on without its menu: others may be offered what it was."""
        self._open[opened.ordinal] = OpenAsk(position=opened.position)

    def close(self, opened: "Opened") -> None:
        """The ask has its answer, or will have none."""
        del self._open[opened.ordinal]
        heapq.heappush(self._free, opened.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One ask that is open, for as long as this is entered: its `position` among the open ones, and its guidance."""

    asks: OpenAsks = field(repr=False)
    ordinal: int
    place: int
    position: int
    guidance: Guidance

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.asks.close(self)
