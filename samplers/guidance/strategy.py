"""The contract of a strategy: from a situation to what this ask is told beyond the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from optuna.study import StudyDirection

from ...engine.records import ALONE, Params, Share
from ..provenance import PROPOSE
from ..space.axes import Array
from ..space.space import Space
from ..view.evidence import WINDOW, Evidence, TrialWindow

Form = Literal["plain", "menu"]

DECLINED: Final = "declined a menu"

PLAIN: Final = "plain"
MENU: Final = "menu"


class InFlightConfiguration(Protocol):
    """A configuration in flight: its parameters, and its place on each axis (NaN where it has none)."""

    @property
    def params(self) -> Params: ...

    @property
    def places(self) -> Sequence[float]: ...


@dataclass(frozen=True, kw_only=True)
class OpenAsk:
    """An ask that the model is answering now.

    `position` is the lowest number from 1 that no other open ask of the study has, over all processes as far as they
    know of each other. `offered` are the places of its candidates, a row each, best first.
    """

    position: int = 1
    offered: Sequence[Sequence[float]] = ()

    @cached_property
    def rows(self) -> Array:
        """What it offers as an array: every later ask compares with it."""
        return np.array(self.offered, dtype=float)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a strategy sees of one ask.

    `space` holds the parameters to choose, given the values in `fixed`. `evidence` holds the finished trials,
    `in_flight` the running and reserved configurations, `open` the asks that the model is answering now.
    `is_known(params)` says whether a configuration would be refused, since it is in the study or in flight.

    `ordinal` counts trials and asks; no two open asks share one. All random draws follow from it and from `seed`.
    `proposed` counts only what comes from the model. `proposals_left` are to come, this one included; None where no
    number of trials is given. `share` is this process's place among those that ask for the
    study: processes may see the same situation at the same moment, and differ in nothing else.
    """

    space: Space
    direction: StudyDirection
    evidence: Evidence
    in_flight: Sequence[InFlightConfiguration] = ()
    open: Sequence[OpenAsk] = ()
    is_known: Callable[[Params], bool] = lambda _: False
    fixed: Params = field(default_factory=dict)
    ordinal: int = 0
    proposed: int = 0
    proposals_left: int | None = None
    seed: int = 0
    share: Share = ALONE

    @cached_property
    def newest(self) -> TrialWindow:
        """The newest finished trials, a row each."""
        return self.evidence.newest

    @cached_property
    def pending(self) -> Array:
        """Places of the newest configurations in flight, and of the first candidate of each open ask, a row each."""
        firsts = [ask.rows[:1] for ask in self.open if ask.offered]
        return np.concatenate([self._rows([one.places for one in self.in_flight[-WINDOW:]]), *firsts])

    @cached_property
    def taken(self) -> Array:
        """Places of the newest finished trials and of what is pending, a row each; `is_known` knows all."""
        return np.concatenate([self.newest.places, self.pending])

    @cached_property
    def offered(self) -> Array:
        """Places of the candidates of all open asks, a row each: the model may take any of them."""
        return np.concatenate([self._rows([]), *(ask.rows for ask in self.open if ask.offered)])

    def _rows(self, rows: Sequence[Sequence[float]]) -> Array:
        return np.array(rows, dtype=float).reshape(-1, len(self.evidence.axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What one ask is told beyond the history.

    `strategy`, `role` and `reason` (why the ask is what it is) stand on the trial. `summary` are lines about the study,
    `words` a paragraph at the end of the prompt. `candidates` are whole configurations of which the model is to take
    one, best first; without any it is free. A parameter that a candidate lacks does not count in it. `expected` has a
    value for each candidate, if the model is to be told what to expect. `optional`: the model may take none of them,
    and is then asked once more, freely.
    """

    strategy: str
    role: str = PROPOSE
    reason: str = ""
    words: str = ""
    summary: tuple[str, ...] = ()
    candidates: Sequence[Params] = ()
    expected: Sequence[float] = ()
    optional: bool = False

    @property
    def form(self) -> Form:
        """Whether the ask is free or has a menu of candidates."""
        return MENU if self.candidates else PLAIN

    def declined(self) -> "Guidance":
        """The same without its menu, for a model that took none of its candidates."""
        reason = f"{DECLINED}: {self.reason}" if self.reason else DECLINED
        return replace(self, role=PROPOSE, reason=reason, candidates=(), expected=(), optional=False)


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


def undisturbed(guide: Callable[[Any, Situation], Guidance]) -> Callable[[Any, Situation], Guidance]:
    """Let a strategy of ours compute as it is meant to: `np.seterr` is for the numbers of the user's own code."""

    @wraps(guide)
    def guide_undisturbed(strategy: Any, situation: Situation) -> Guidance:
        with np.errstate(all="ignore"):
            return guide(strategy, situation)

    return guide_undisturbed
