"""From nothing to a trial: a candidate is found while no trial exists, and becomes one in one step."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from optuna import Trial
from optuna.trial import FrozenTrial

from .history import Snapshot
from .lanes import Lanes
from .protocols import Proposer
from .records import EMPTY, Params, Proposal, SearchSpace
from .study import StudyDoor, fixed_params


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A claim on a WAITING trial, and a proposal for what it leaves open."""

    trial: FrozenTrial
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class SamplersTurn:
    """The sampler needs a trial to propose: `study.ask` decides, enqueued trials first."""


Candidate: TypeAlias = Proposal | Enqueued | SamplersTurn


class Asker:
    """Finds candidates and makes them trials, for one run of one study."""

    def __init__(
        self,
        *,
        door: StudyDoor,
        proposer: Proposer | None,
        lanes: Lanes,
        search_space: SearchSpace | None,
        run: str,
        fixed: Params = EMPTY,
        to_the_end: bool = False,
    ) -> None:
        self.door = door
        self.ledger = door.ledger
        self.proposer = proposer
        self.lanes = lanes
        self.search_space = search_space
        self.run = run
        self.fixed = fixed
        self.to_the_end = to_the_end

    async def candidate(self) -> Candidate:
        """An enqueued trial if one is free, else a proposal; no trial exists yet, so it may fail or be cancelled."""
        if self.proposer is None:
            return SamplersTurn()
        with self.ledger.asking():  # before the first await, so that proposals of one wave know of each other
            snapshot = await self.lanes.refresh()
            waiting = self.ledger.claim() if snapshot.waiting else None
            if waiting is not None:
                return await self._enqueued(self.proposer, waiting, snapshot)
            proposal = await self.proposer.propose_one(
                self.door, snapshot, search_space=self.search_space, fixed=self.fixed, to_the_end=self.to_the_end
            )
            return self._with_fixed(proposal)

    async def _enqueued(self, proposer: Proposer, waiting: FrozenTrial, snapshot: Snapshot) -> Enqueued:
        """What a trial leaves open is proposed while it waits, so that a failure leaves it waiting."""
        try:
            fixed = {**self.fixed, **fixed_params(waiting)}
            known = self.search_space or proposer.search_space or snapshot.space
            if all(name in fixed for name in known):
                return Enqueued(trial=waiting, proposal=Proposal(params={}, distributions={}))
            space = self.search_space
            proposal = await proposer.propose_one(self.door, snapshot, search_space=space, fixed=fixed)
            return Enqueued(trial=waiting, proposal=proposal)
        except BaseException:
            self.ledger.unclaim(waiting.number)
            raise

    def _with_fixed(self, proposal: Proposal) -> Proposal:
        """With what the sampler around the proposer fixes; only what is written at the ask needs it."""
        space = self.search_space or {}
        fixed = {name: value for name, value in self.fixed.items() if name in space}
        if not fixed:
            return proposal
        params = {name: fixed.get(name, proposal.params.get(name)) for name in space}
        whole = replace(proposal, params=params, distributions=space)
        self.ledger.reserve(whole)
        self.ledger.release(proposal)
        return whole

    def discard(self, candidate: Candidate) -> None:
        """Give a candidate back; what it took stays spent."""
        match candidate:
            case Proposal():
                self.ledger.give_up(candidate)
            case Enqueued(trial=trial, proposal=proposal):
                self.ledger.unclaim(trial.number)
                self.ledger.give_up(proposal)

    async def create(self, candidate: Candidate) -> Trial | None:
        """Make the candidate a RUNNING trial; None if somebody else took the enqueued one."""
        match candidate:
            case Proposal():
                written = self.search_space is not None
                return await self.lanes.storage.run(self.door.create, candidate, written=written, run=self.run)
            case Enqueued(trial=waiting, proposal=proposal):
                space = self.search_space or {}
                return await self.lanes.storage.run(self.door.take, waiting, proposal, space, self.run)
            case SamplersTurn():
                return await self.lanes.helper.run(self.lanes.stoppable, self.door.ask, self.search_space)
