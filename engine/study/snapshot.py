"""A study at one moment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..records import ALONE, Params, Proposal, Share
from .attributes import has_params, is_interrupted, repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A study at one moment.

    `finished` is in order of completion, then number; `running` and `waiting` (enqueued) by number. What is
    `unevaluated` failed before its objective ran (the total was reached, or nothing was proposed), and is in nothing
    else. `space` holds what the trials say of each parameter (`KnownRange`), in the order in which the study first met
    the names. `reserved` are accepted proposals that are no trials yet; `assigned` maps a running trial's number to the
    proposal whose values it has not all suggested yet; `asking` counts the proposals being computed. `attributes` are
    the study's user attributes, empty where nobody asks a model. `share` is this process's place among those that work
    on the study.
    """

    finished: tuple[FrozenTrial, ...] = ()
    running: tuple[FrozenTrial, ...] = ()
    waiting: tuple[FrozenTrial, ...] = ()
    unevaluated: tuple[FrozenTrial, ...] = ()
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    reserved: tuple[Proposal, ...] = ()
    assigned: Mapping[int, Proposal] = field(default_factory=dict)
    asking: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    share: Share = ALONE

    def is_repeated(self, number: int) -> bool:
        """Whether a trial was enqueued anew, or its result came late."""
        trials = (*self.finished, *self.running, *self.waiting, *self.unevaluated)
        return any(repeats(trial, number) for trial in trials)

    def with_params(self, params: Params) -> Iterator[FrozenTrial]:
        """The running and finished trials that have exactly these parameters, less those that were interrupted."""
        if params:
            for trial in (*self.running, *self.finished):
                if has_params(trial, params) and not is_interrupted(trial):
                    yield trial
