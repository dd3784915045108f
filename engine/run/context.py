"""What one call of `optimize_async` or `ask_async` was asked for, and what it works with while it lasts."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..arguments import number
from ..errors import UsageError
from ..fleet.lease_keeper import LeaseKeeper
from ..fleet.total_trials import Places
from ..protocols import Proposer
from ..records import EMPTY, Objective, Params, SearchSpace
from ..study.distributions import check_search_space
from ..study.door import StudyDoor
from ..study.journal_repair import guard_journal, tidy_journal
from ..study.lanes import Lanes, RetryPolicy
from ..study.optuna_internals import behind_fixed, storage_of
from .schedule import RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run; see `optimize_async` for what each means. Times are in seconds."""

    objective: Objective
    plan: RunPlan
    total_trials: int | None
    timeout: float | None
    trial_timeout: float | None
    catch: tuple[type[BaseException], ...]
    callbacks: Sequence[Callable[[Study, FrozenTrial], Any]]
    retries: int
    grace: float
    handle_signals: bool
    show_progress_bar: bool

    def __post_init__(self) -> None:
        number("total_trials", self.total_trials, whole=True, optional=True)
        number("timeout", self.timeout, positive=True, optional=True, unit=" of seconds")
        number("trial_timeout", self.trial_timeout, positive=True, optional=True, unit=" of seconds")
        number("retries", self.retries, whole=True)
        number("grace", self.grace, unit=" of seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The study, who samples it, and who we are in it.

    `proposer` is the study's sampler, None if that is one of Optuna's own kind; `fixed` are the values that a
    `PartialFixedSampler` around it fixes. `search_space` is set at the ask, None if it follows from the trials. `run`
    is the id that our trials bear, and `created` their numbers. `keeper` keeps our lease, None if we have none.
    """

    door: StudyDoor
    lanes: Lanes
    proposer: Proposer | None
    fixed: Params
    search_space: SearchSpace | None
    run: str
    places: Places
    keeper: LeaseKeeper | None
    created: set[int] = field(default_factory=set)

    async def knows_space(self) -> bool:
        """Whether parameters are declared, or known from the study's trials."""
        declared = self.search_space or (self.proposer is not None and self.proposer.search_space)
        return bool(declared or (await self.lanes.refresh()).space)

    def may_take(self, waiting: FrozenTrial) -> bool:
        """Whether we may take an enqueued trial; if so, other runs give way until `took`. Blocks on the storage."""
        if self.keeper is None:
            return self.door.is_waiting(waiting)
        return self.keeper.may_take(waiting.number, lambda: self.door.is_waiting(waiting))

    def took(self, waiting: FrozenTrial) -> None:
        """End what a `may_take` that said yes began, whether the trial was to be had or not."""
        if self.keeper is not None:
            self.keeper.forget_taking(waiting.number)


@asynccontextmanager
async def open_context(
    study: Study,
    search_space: Mapping[str, BaseDistribution] | None,
    *,
    total: int | None = None,
    retries: int = 0,
    leased: bool = False,
    policy: RetryPolicy | None = None,
) -> AsyncIterator[RunContext]:
    """Find out who samples the study, and start the threads that reach it.

    A proposer inside Optuna's `PartialFixedSampler` is asked directly, not trial by trial. `leased` gives the run a
    lease, where other processes can see the study. `policy` says for how long a storage that fails is tried.

    Raises `UsageError` if `search_space` cannot be used.
    """
    guard_journal(storage_of(study))
    sampler, fixed = behind_fixed(study.sampler)
    proposer = sampler if isinstance(sampler, Proposer) else None
    door = StudyDoor(study) if proposer is None else proposer.door(study)
    space = _checked_space(search_space, proposer)
    run = uuid.uuid4().hex[:12]
    keeper = None
    if leased and door.is_shareable:
        keeper = LeaseKeeper(door, run=run, model=None if proposer is None else proposer.model, retries=retries)
    read = door.refresh if keeper is None else keeper.refresh
    with Lanes(door, read=read, policy=policy) as lanes:
        # a process that died while it wrote may have left half a line in the journal
        await lanes.store("opening the study", tidy_journal, storage_of(study))
        yield RunContext(
            door=door,
            lanes=lanes,
            proposer=proposer,
            fixed=EMPTY if proposer is None else fixed,
            search_space=space,
            run=run,
            places=Places(total),
            keeper=keeper,
        )


def _checked_space(
    search_space: Mapping[str, BaseDistribution] | None, proposer: Proposer | None
) -> SearchSpace | None:
    if search_space is None:
        return None
    space = check_search_space(search_space)
    declared = None if proposer is None else proposer.search_space
    if declared is not None and dict(declared) != dict(space):
        raise UsageError(
            "search_space= differs from the sampler's own search_space: give one of the two, or the same space twice"
        )
    return space
