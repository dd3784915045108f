"""What one ask is about: as the sampler puts it, and with all that the answer depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection

from ..engine.records import Params, SearchSpace
from .guidance.strategies import Plain
from .guidance.strategy import Strategy
from .prompt.messages import Subject, render_head
from .prompt.policy import ContextPolicy
from .space.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for: `wanted` of the `columns`, which are what the prompt shows of every trial.

    `number` is the trial's, if there is one already.
    """

    columns: SearchSpace
    wanted: Sequence[str]
    fixed: Params
    discovery: bool = False
    union: bool = False
    to_the_end: bool = False
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one ask is about. `space` is what the model chooses, `fixed` what it is told, `columns` what it is shown.

    `number` is the trial's, if there is one already. `union`: a trial suggests only some of the parameters.
    `to_the_end`: a finite space of which nothing is left is `SpaceExhausted`; otherwise its duplicates are proposed.
    `menus`: the client takes a new schema with every ask.
    """

    columns: Space
    space: Space
    direction: StudyDirection
    subject: Subject
    policy: ContextPolicy
    strategy: Strategy = field(default_factory=Plain)
    fixed: Params = field(default_factory=dict)
    seed: int | None = None
    max_reasks: int = 2
    number: int | None = None
    earlier: Mapping[str, Any] | None = None
    union: bool = False
    to_the_end: bool = False
    menus: bool = True

    def head(self, space: Space) -> str:
        """The part of the prompt that never changes, for this part of the columns."""
        return render_head(space, self.subject, self.direction, rationale=self.policy.rationale)
