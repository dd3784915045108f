"""The contract of a strategy: from a situation to what this ask is told beyond the history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from optuna.study import StudyDirection

from ...engine.records import ALONE, Params, Share
from ..roles import PROPOSE
from ..space.arrays import Array
from ..space.axes import Region
from ..space.space import Space
from ..view.evidence import Evidence

Form = Literal["plain", "words", "menu"]


class Placed(Protocol):
    """A configuration in flight: its parameters, and its place on each axis (NaN where it has none)."""

    @property
    def params(self) -> Params: ...

    @property
    def places(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An ask that is being answered at this moment: its region, the middle of it, and where the offered candidates are.

    `offered` has a row each; as in `places`, NaN stands for an axis that nothing is said about.
    """

    region: Region
    places: Sequence[float]
    offered: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a strategy sees of one ask.

    `space` is what is asked for, given the values that are `fixed`. `evidence` holds the finished trials, `in_flight`
    the configurations that are running or reserved, `open` the asks that are being answered at this moment. `ordinal`
    counts all of these: no two asks that are open together have the same, and with `seed` it decides all that is drawn.
    `proposed` counts those that come from the model. `share` is this process's place among those that ask for the
    study: at one moment each of them may be in the very same situation but for that.
    """

    space: Space
    direction: StudyDirection
    evidence: Evidence
    in_flight: Sequence[Placed] = ()
    open: Sequence[Open] = ()
    fixed: Params = field(default_factory=dict)
    ordinal: int = 0
    proposed: int = 0
    seed: int = 0
    share: Share = ALONE

    @cached_property
    def pending(self) -> Array:
        """Where the configurations in flight and the open asks with a region stand, a row each."""
        rows = [one.places for one in self.in_flight] + [ask.places for ask in self.open if ask.region]
        return np.array(rows, dtype=float).reshape(-1, len(self.evidence.axes))

    @cached_property
    def taken(self) -> Array:
        """Where the newest finished trials stand as well."""
        return np.concatenate([self.evidence.newest.places, self.pending])

    @cached_property
    def offered(self) -> Array:
        """Where the candidates of the open asks stand, a row each: whichever of them is taken is no trial yet."""
        rows = [row for ask in self.open for row in ask.offered]
        return np.array(rows, dtype=float).reshape(-1, len(self.evidence.axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What one ask is told: its role, a region in words, or a menu of values per parameter, and a summary.

    `role` and `region` stand on the trial. `words` is one paragraph at the end of the prompt, `summary` lines about the
    study. `menu` lists the values that a parameter may take: in the schema, if the client takes a new one each time.
    `offered` are the places of the candidates among which to choose, a row each, so that no other ask offers them.
    """

    strategy: str
    role: str = PROPOSE
    form: Form = "plain"
    region: Region = field(default_factory=dict)
    words: str = ""
    menu: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    offered: Sequence[Sequence[float]] = ()


@runtime_checkable
class Strategy(Protocol):
    """Decides what each ask is told. A pure function of the situation: it remembers nothing."""

    @property
    def name(self) -> str:
        """The name that stands on the trials."""
        ...

    def guide(self, situation: Situation) -> Guidance:
        """What to tell the model in this situation."""
        ...
