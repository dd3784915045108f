"""The two contracts that the engine is handed: who proposes configurations, and where objectives run."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from optuna import Study

from .outcome import Outcome
from .records import Call, Params, Proposal, SearchSpace
from .study.door import StudyDoor


@runtime_checkable
class Proposer(Protocol):
    """A sampler that computes a whole configuration before its trial exists.

    The engine recognizes it by these five members, and then asks `propose_one` instead of waiting for Optuna's
    `sample_relative`. All of them are used from the event loop of the run; several asks may be open at once.
    """

    @property
    def search_space(self) -> SearchSpace | None:
        """The declared union of parameters, None if it follows from the study's history."""
        ...

    @property
    def model(self) -> str:
        """What its rate limits are for: processes that ask the same model for one study divide them."""
        ...

    @property
    def capped(self) -> bool:
        """Whether a budget ends its asks some day."""
        ...

    def door(self, study: Study) -> StudyDoor:
        """A door to a study. All doors of one sampler to one study share what is in flight."""
        ...

    async def propose_one(
        self,
        door: StudyDoor,
        *,
        search_space: SearchSpace | None,
        fixed: Params,
        left: int | None = None,
        patience: float | None = None,
        stop_when_exhausted: bool = False,
    ) -> Proposal:
        """Compute one configuration, and reserve it with `door.in_flight.reserve` before returning it.

        The caller has read the study just before, and counts the ask with `door.in_flight.asking()`. Everything else
        that the proposal depends on is read from `door.snapshot()`, as late as possible. The caller makes the
        proposal a trial, or gives it up with `door.give_up`.

        `search_space` None stands for all that is declared or known. Names in `fixed` have their values already, and
        are not proposed. If no parameter is known yet, the proposal is empty: its trial discovers them.
        `left`: how many proposals are to come, this one included, as far as `n_trials` or `total_trials` set an end.
        A provider that asks for a pause longer than `patience`, in seconds, is not waited for: its error is raised.
        `stop_when_exhausted` asks for `SpaceExhausted` once a finite space holds nothing new; otherwise a duplicate
        is proposed. What asking takes is added to `door.spent` as it is spent.

        Raises `ProposalError` if there is no valid configuration, `BudgetExhaustedError`, and client errors. An error
        that is `transient` pauses the run; any other ends it. When cancelled, it leaves nothing reserved.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCapabilities:
    """What a place where objectives run can do.

    `ends_at_once`: a cancelled objective is really ended, not abandoned. `streams`: intermediate values and the
    pruner's answers travel while the objective runs; else the values arrive with its outcome, and nothing is pruned.
    `takes_closures`: an objective may use anything around it. `awaits`: it runs `async def` objectives. `says_start`:
    it calls `Call.started` when the objective begins, and the time before does not count for a timeout.
    """

    ends_at_once: bool = False
    streams: bool = True
    takes_closures: bool = True
    awaits: bool = True
    says_start: bool = False


@runtime_checkable
class Workers(Protocol):
    """A place where objectives run. One object may serve several runs, also at once.

    It may have `capabilities: WorkerCapabilities`; without them, the defaults of that record hold.
    """

    @property
    def slots(self) -> int | None:
        """How many objectives run there side by side, None if it does not matter; the default of `n_workers`."""
        ...

    async def run(self, call: Call) -> Outcome:
        """Run one objective to its end, on the event loop of the run or anywhere else.

        What the objective raises, `KeyboardInterrupt` included, is an outcome (see `engine.outcome`), never raised.
        When cancelled (a timeout, a signal, the end of the run), it tells the objective if it can, and raises the
        cancellation without waiting for it. Anything else that is raised means that the place itself failed: the
        engine fails the trial and ends the run with `WorkerError`.
        """
        ...


def capabilities_of(workers: Workers) -> WorkerCapabilities:
    """What a place can do, as it says."""
    said = getattr(workers, "capabilities", None)
    return said if isinstance(said, WorkerCapabilities) else WorkerCapabilities()
