"""The two contracts that the engine is handed: who proposes configurations, and where objectives run."""

from typing import Protocol, runtime_checkable

from optuna import Study

from .records import Call, Outcome, Params, Proposal, SearchSpace
from .study.door import StudyDoor


@runtime_checkable
class Proposer(Protocol):
    """A sampler that computes a whole configuration before its trial exists."""

    @property
    def search_space(self) -> SearchSpace | None:
        """The declared union of parameters, None if it follows from the study's history."""
        ...

    @property
    def model(self) -> str:
        """What its rates are for: processes that ask the same model for one study divide them."""
        ...

    def door(self, study: Study) -> StudyDoor:
        """The one door of this sampler to a study, so that all entry points share its reservations."""
        ...

    async def propose_one(
        self,
        door: StudyDoor,
        *,
        search_space: SearchSpace | None,
        fixed: Params,
        stop_when_exhausted: bool = False,
    ) -> Proposal:
        """Propose values for `search_space` (None: all that is known), given those that are `fixed`.

        `stop_when_exhausted`: raise `SpaceExhausted` when a finite space holds nothing new, instead of proposing a
        duplicate.

        The proposal is reserved when this returns; whoever called it creates or releases it. It is empty if the
        study knows no parameter yet: then the trial discovers them. Raises `ProposalError`, client errors.
        """
        ...


@runtime_checkable
class Workers(Protocol):
    """A place where objectives run."""

    @property
    def slots(self) -> int | None:
        """How many objectives run there at once, None if it does not matter."""
        ...

    async def run(self, call: Call) -> Outcome:
        """Run one objective to its end; raises nothing but cancellation."""
        ...
