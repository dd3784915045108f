"""The contract of a strategy: from a situation to what this ask is told beyond the history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from optuna.study import StudyDirection

from ...engine.records import ALONE, Params, Share
from ..provenance import PROPOSE
from ..space.axes import Array, Region
from ..space.space import Space
from ..view.evidence import Evidence, TrialWindow

Form = Literal["plain", "words", "menu"]


class InFlightConfiguration(Protocol):
    """A configuration in flight: its parameters, and its place on each axis (NaN where it has none)."""

    @property
    def params(self) -> Params: ...

    @property
    def places(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAsk:
    """An ask that the model is answering now: its region, the middle of the region, and the candidates it offers.

    `places` has one number for each axis, `offered` one such row for each candidate; NaN where nothing is said.
    """

    region: Region
    places: Sequence[float]
    offered: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a strategy sees of one ask.

    `space` holds the parameters to choose, given the values in `fixed`. `evidence` holds the finished trials,
    `in_flight` the running and reserved configurations, `open` the asks that the model is answering now.

    `ordinal` counts trials and asks; no two open asks share one. All random draws follow from it and from `seed`.
    `proposed` counts only what comes from the model. `share` is this process's place among those that ask for the
    study: processes may see the same situation at the same moment, and differ in nothing else.
    """

    space: Space
    direction: StudyDirection
    evidence: Evidence
    in_flight: Sequence[InFlightConfiguration] = ()
    open: Sequence[OpenAsk] = ()
    fixed: Params = field(default_factory=dict)
    ordinal: int = 0
    proposed: int = 0
    seed: int = 0
    share: Share = ALONE

    @cached_property
    def newest(self) -> TrialWindow:
        """The newest finished trials, a row each."""
        return self.evidence.newest

    @cached_property
    def pending(self) -> Array:
        """Places of the configurations in flight and of the open asks with a region, a row each."""
        return self._rows([one.places for one in self.in_flight] + [ask.places for ask in self.open if ask.region])

    @cached_property
    def taken(self) -> Array:
        """Places of the newest finished trials and of what is pending, a row each."""
        return np.concatenate([self.newest.places, self.pending])

    @cached_property
    def offered(self) -> Array:
        """Places of the candidates of all open asks, a row each: the model may take any of them."""
        return self._rows([row for ask in self.open for row in ask.offered])

    def _rows(self, rows: Sequence[Sequence[float]]) -> Array:
        return np.array(rows, dtype=float).reshape(-1, len(self.evidence.axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What one ask is told: its role, a region in words or a menu of values, and a summary of the study.

    `strategy`, `role`, `form` and `region` stand on the trial. `words` is one paragraph at the end of the prompt,
    `summary` lines about the study. `menu` lists the values that a parameter may take; it narrows the schema where the
    client takes a new schema with each ask. `offered` holds the places of the candidates, a row each, so that no other
    ask offers them.
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
