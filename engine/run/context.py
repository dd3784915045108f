"""What one call of `optimize_async` or `ask_async` was asked for, and what it works with while it lasts."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..arguments import number
from ..errors import UsageError
from ..fleet.lease_keeper import LeaseKeeper
from ..fleet.total_trials import Places
from ..foreign_text import summary
from ..logs import get_logger
from ..names import AskedNames
from ..protocols import Proposer
from ..records import EMPTY, Objective, Params, SearchSpace
from ..study.attributes import LEASE_PREFIX, run_of
from ..study.distributions import check_search_space, require_same_kinds, require_storable
from ..study.door import StudyDoor
from ..study.journal_repair import guard_journal, tidy_journal
from ..study.lanes import Lanes
from ..study.optuna_internals import behind_fixed, declare, storage_of
from ..study.patience import RetryPolicy
from ..study.snapshot import Snapshot
from .schedule import RunPlan
from .signals import Signals

logger = get_logger("optuna_llm.engine")


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
    signals: Signals | None
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
    `PartialFixedSampler` around it fixes. `search_space` is set at the ask, None if it follows from the trials;
    `declared` is that, or the proposer's own space, empty if objectives may suggest any name. `run` is the
    id that our trials bear, and `created` their numbers. `keeper` keeps our lease, None if we have none.
    """

    door: StudyDoor
    lanes: Lanes
    proposer: Proposer | None
    fixed: Params
    search_space: SearchSpace | None
    declared: SearchSpace
    run: str
    places: Places
    keeper: LeaseKeeper | None
    created: set[int] = field(default_factory=set)

    def require_fitting(self, snapshot: Snapshot) -> None:
        """Raise `UsageError` if the study has other kinds of the parameters that are declared."""
        require_same_kinds(self.declared, snapshot.space)

    def watch(self, trial: Trial) -> AskedNames | None:
        """Hold a trial to the declared space, if there is one; what its objective asks for is in what is returned."""
        if not self.declared:
            return None
        return declare(trial, self.declared, behind_fixed(self.door.study.sampler)[1])

    def leftover(self, snapshot: Snapshot) -> list[FrozenTrial]:
        """The RUNNING trials of no run that we know: if their process is gone, nobody will ever tell them."""
        with_lease = () if self.keeper is None else self.keeper.with_lease(snapshot.running)
        known = {trial.number for trial in with_lease}
        active = self.door.sharing.active_runs
        return [trial for trial in snapshot.running if trial.number not in known and run_of(trial) not in active]

    async def knows_space(self) -> bool:
        """Whether parameters are declared, or known from the study's trials."""
        return bool(self.declared or (await self.lanes.refresh()).space)

    def may_take(self, waiting: FrozenTrial) -> bool:
        """Whether we may take an enqueued trial; if so, other runs give way until `took`. Blocks on the storage."""
        if self.keeper is None:
            return self.door.is_waiting(waiting)
        return self.keeper.may_take(waiting.number, lambda: self.door.is_waiting(waiting))

    def took(self, waiting: FrozenTrial) -> None:
        """End what a `may_take` that said yes began, whether the trial was to be had or not."""
        if self.keeper is not None:
            self.keeper.forget_taking(waiting.number)

    def write_end(self, end: Mapping[str, Any]) -> None:
        """Store what the run did, in the place of its lease if it has one. Blocks on the storage.

        Raises what the storage raises where others would go on believing the lease; else that is a line in the log.
        """
        if self.keeper is not None:
            self.keeper.stop(end)
            return
        try:
            self.door.write_attribute(f"{LEASE_PREFIX}{self.run}", dict(end))
        except Exception as error:
            logger.warning("The end of run %s is not in the study: %s", self.run, summary(error))


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
    if door.is_shareable:
        require_storable(_declared(space, proposer))
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
            declared=_declared(space, proposer),
            run=run,
            places=Places(total),
            keeper=keeper,
        )


def _declared(search_space: SearchSpace | None, proposer: Proposer | None) -> SearchSpace:
    """The parameters that are declared here or to the sampler; empty if they follow from the trials."""
    return search_space or (proposer.search_space if proposer is not None else None) or EMPTY


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
