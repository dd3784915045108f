"""What a study holds, kept up to date trial by trial: a finished trial is looked at once and never again."""

import bisect
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ..records import (
    ALONE,
    EMPTY,
    FAILURE_ATTRIBUTE,
    INTERRUPTED,
    LLM_ATTRIBUTE,
    RUN_DIED,
    SURPLUS,
    Charge,
    Params,
    Proposal,
    Share,
    as_mapping,
)
from .distributions import same


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A study at one moment.

    `finished` is in order of completion, then number; `running` and `waiting` (enqueued) by number.
    `reserved` are accepted proposals that are no trials yet; `assigned` maps a running trial's number to the proposal
    whose values it has not all suggested yet; `asking` counts the proposals being computed. `space` is the union of
    the distributions of all trials, the newest of each name, in the order in which the study first met the names.
    `charges` maps who asked to what they spent that no trial has on record, where that is wanted. `surplus` trials
    were created after the study's total was reached, and not evaluated; they are in nothing else. `share` is this
    process's place among those that ask for the study.
    """

    finished: tuple[FrozenTrial, ...] = ()
    running: tuple[FrozenTrial, ...] = ()
    waiting: tuple[FrozenTrial, ...] = ()
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    reserved: tuple[Proposal, ...] = ()
    assigned: Mapping[int, Proposal] = field(default_factory=dict)
    asking: int = 0
    charges: Mapping[str, Charge] = field(default_factory=dict)
    surplus: tuple[FrozenTrial, ...] = ()
    share: Share = ALONE


@dataclass(slots=True)
class _Name:
    """Where a parameter name was first met (trial number, position), and its newest distribution."""

    first: tuple[int, int]
    newest: int
    distribution: BaseDistribution


def completion_order(trial: FrozenTrial) -> tuple[datetime.datetime, int]:
    """Sort key of finished trials: when they finished, then their number."""
    return trial.datetime_complete or datetime.datetime.max, trial.number  # noqa: DTZ901 (Optuna's times are naive)


def llm_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a trial has on record of its proposal; empty if it has nothing, or something that is no such record.

    Users and other tools may have written it, so nothing in it is sure to be of the right type.
    """
    return as_mapping(trial.user_attrs.get(LLM_ATTRIBUTE))


def failure_type(trial: FrozenTrial) -> str | None:
    """What a failed trial has on record as the type of its failure; None for others."""
    failure = trial.user_attrs.get(FAILURE_ATTRIBUTE)
    if trial.state is not TrialState.FAIL or not isinstance(failure, Mapping):
        return None
    kind = failure.get("type")
    return kind if isinstance(kind, str) else None


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a signal ended a trial, or its run's cancellation.

    Its configuration is as good as untried, and may be proposed again.
    """
    return failure_type(trial) == INTERRUPTED


def is_inconclusive(trial: FrozenTrial) -> bool:
    """Whether a trial failed for a reason that says nothing about its configuration: a signal, or its run's end.

    What died with its run is not to be proposed again all the same: it may have been the cause, it is enqueued anew
    where retries allow, and its result may still come.
    """
    return failure_type(trial) in (INTERRUPTED, RUN_DIED)


def retried(trial: FrozenTrial) -> Sequence[int]:
    """The numbers of the trials that this one is a retry of, the first one first, as Optuna's own retries have them."""
    numbers: Sequence[int] = trial.system_attrs.get("retry_history", ())
    return numbers


def same_as(params: Params, snapshot: Snapshot) -> Iterator[FrozenTrial]:
    """The trials that have exactly these parameters, but for those that were interrupted."""
    if params:
        for trial in (*snapshot.running, *snapshot.finished):
            if _has(trial, params) and not is_interrupted(trial):
                yield trial


def _has(trial: FrozenTrial, params: Params) -> bool:
    if trial.params != params:
        return False
    choices = (name for name, d in trial.distributions.items() if isinstance(d, CategoricalDistribution))
    return all(same(trial.params[name], params[name]) for name in choices)


def is_surplus(trial: FrozenTrial) -> bool:
    """Whether a trial was failed because its study's total was reached before it could run."""
    return failure_type(trial) == SURPLUS


class History:
    """The incremental view behind `Snapshot`; feeding it any sequence of readings ends where one reading does."""

    def __init__(self) -> None:
        self.finished: tuple[FrozenTrial, ...] = ()
        self.running: tuple[FrozenTrial, ...] = ()
        self.waiting: tuple[FrozenTrial, ...] = ()
        self.surplus: tuple[FrozenTrial, ...] = ()
        self.space: Mapping[str, BaseDistribution] = EMPTY
        self._open: dict[int, FrozenTrial] = {}
        self._seen = 0
        self._names: dict[str, _Name] = {}
        self._met: dict[int, int] = {}

    def extend(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in a reading of all trials, ordered by number from 0; one that is older than the last is passed over."""
        if len(trials) < self._seen:
            return
        changed = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        self._seen = len(trials)
        self._take(changed)

    def extend_one(self, trial: FrozenTrial) -> bool:
        """Take in a reading of one trial; False if trials before it are unknown, so that all must be read."""
        if trial.number > self._seen:
            return False
        if trial.number == self._seen or trial.number in self._open:
            self._seen = max(self._seen, trial.number + 1)
            self._take([trial])
        return True

    def _take(self, changed: list[FrozenTrial]) -> None:
        """Take in trials that were not finished when they were last seen."""
        done = [trial for trial in changed if trial.state.is_finished()]
        for trial in changed:
            self._open[trial.number] = trial
        for trial in done:
            del self._open[trial.number]
        pending = self._open.values()  # by number: trials are met in that order, and keep their place
        self.running = tuple(trial for trial in pending if trial.state is TrialState.RUNNING)
        self.waiting = tuple(trial for trial in pending if trial.state is TrialState.WAITING)
        self.surplus += tuple(trial for trial in done if is_surplus(trial))
        self._append([trial for trial in done if not is_surplus(trial)])
        self._meet(changed)
        for trial in done:
            self._met.pop(trial.number, None)

    def _append(self, done: list[FrozenTrial]) -> None:
        if not done:
            return
        done.sort(key=completion_order)
        if not self.finished or completion_order(self.finished[-1]) <= completion_order(done[0]):
            self.finished = (*self.finished, *done)
            return
        merged = list(self.finished)
        for trial in done:  # another process finished it earlier than something we saw sooner
            bisect.insort(merged, trial, key=completion_order)
        self.finished = tuple(merged)

    def _meet(self, trials: list[FrozenTrial]) -> None:
        changed = False
        for trial in trials:
            if self._met.get(trial.number) == len(trial.distributions):
                continue  # a trial's parameters only ever grow
            self._met[trial.number] = len(trial.distributions)
            for position, (name, distribution) in enumerate(trial.distributions.items()):
                here = (trial.number, position)
                known = self._names.get(name)
                if known is None:
                    self._names[name] = _Name(here, trial.number, distribution)
                    changed = True
                    continue
                if here < known.first:
                    known.first, changed = here, True
                if trial.number >= known.newest and distribution != known.distribution:
                    known.newest, known.distribution, changed = trial.number, distribution, True
                known.newest = max(known.newest, trial.number)
        if changed:
            ordered = sorted(self._names.items(), key=lambda item: item[1].first)
            self.space = {name: known.distribution for name, known in ordered}
