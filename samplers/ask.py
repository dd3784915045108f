"""One ask: what to choose, what is fixed, and everything that the prompt and the verdict on a reply depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection

from ..engine.records import Params
from .guidance.strategy import Strategy
from .prompt.messages import Subject, render_head
from .prompt.policy import ContextPolicy
from .space.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`space` is what the model chooses, `fixed` what it is told, `columns` what it is shown of every trial.

    `model` names the model for provenance and errors. `number` is the trial's, if there is one already, and `earlier`
    what that trial has on record of calls before. `conditional`: a trial suggests only some of the parameters.
    `stop_when_exhausted`: raise `SpaceExhausted` when a finite space holds nothing new, instead of proposing a
    duplicate. `menus`: the client takes a new schema with every ask.
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
    stop_when_exhausted: bool = False
    menus: bool = True

    @property
    def complete(self) -> bool:
        """Whether the model chooses all that a trial has, so that its answer can be compared with trials."""
        return self.space.distributions.keys() == self.columns.distributions.keys()

    @property
    def has_one_answer(self) -> bool:
        """Whether every parameter has a single value, so that there is nothing to ask."""
        return self.space.fixed.keys() == self.space.distributions.keys()

    def head(self, space: Space) -> str:
        """The part of the prompt that never changes, for this part of the columns."""
        return render_head(space, self.subject, self.direction, rationale=self.policy.rationale)
