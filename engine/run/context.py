"""What one call of `optimize_async` or `ask_async` works with, opened for as long as the call lasts."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from ..fleet.lease_keeper import LeaseKeeper
from ..study.door import StudyDoor
from ..study.journal_repair import tidy_journal
from ..study.lanes import Lanes
from ..study.optuna_internals import storage_of
from ..study.retrying import RetryPolicy
from .places import Places
from .sampling import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The study, who samples it, and who we are in it.

    `run` is the id that our trials bear. `keeper` keeps our lease, None where no other process can see the study.
    `created` holds the numbers of the trials that we created.
    """

    sampling: Sampling
    lanes: Lanes
    run: str
    places: Places
    keeper: LeaseKeeper | None
    created: set[int] = field(default_factory=set)

    @property
    def door(self) -> StudyDoor:
        """The door to the study."""
        return self.sampling.door

    def may_take(self, waiting: FrozenTrial) -> bool:
        """Whether we may take an enqueued trial; if so, other runs give way until `took`. Blocks on the storage."""
        if self.keeper is None:
            return self.door.is_waiting(waiting)
        return self.keeper.may_take(waiting.number, lambda: self.door.is_waiting(waiting))

    def took(self, waiting: FrozenTrial) -> None:
        """End what a `may_take` that said yes began, whether the trial was to be had or not."""
        if self.keeper is not None:
            self.keeper.forget_taking(waiting.number)


def new_run_id() -> str:
    """A name for one run that no other run has."""
    return uuid.uuid4().hex[:12]


@asynccontextmanager
async def open_context(
    sampling: Sampling,
    *,
    run: str,
    total: int | None = None,
    keeper: LeaseKeeper | None = None,
    policy: RetryPolicy | None = None,
) -> AsyncIterator[RunContext]:
    """Start the two threads that reach the study, and mend its journal if a process died while it wrote."""
    read = sampling.door.refresh if keeper is None else keeper.refresh
    with Lanes(sampling.door, read=read, policy=policy) as lanes:
        await lanes.store("opening the study", tidy_journal, storage_of(sampling.door.study))
        yield RunContext(sampling=sampling, lanes=lanes, run=run, places=Places(total), keeper=keeper)
