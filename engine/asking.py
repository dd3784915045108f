"""From nothing to a trial: a candidate is found while no trial exists, and becomes one in one step."""

from dataclasses import dataclass
from typing import TypeAlias

from optuna import Trial

from .lanes import Lanes
from .protocols import Proposer
from .records import EMPTY, Proposal, SearchSpace
from .study import StudyDoor


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A claim on one WAITING trial."""


@dataclass(frozen=True, slots=True)
class SamplersTurn:
    """The sampler needs a trial to propose: `study.ask` decides."""


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
        to_the_end: bool = False,
    ) -> None:
        self.door = door
        self.proposer = proposer
        self.lanes = lanes
        self.search_space = search_space
        self.run = run
        self.to_the_end = to_the_end
        self._claims = 0

    async def candidate(self) -> Candidate:
        """An enqueued trial if one is free, else a proposal; no trial exists yet, so it may fail or be cancelled."""
        if self.proposer is None:
            snapshot = await self.lanes.refresh()
            return self._claim() if snapshot.waiting > self._claims else SamplersTurn()
        with self.door.asking():  # before the first await, so that proposals of one wave know of each other
            snapshot = await self.lanes.refresh()
            if snapshot.waiting > self._claims:
                return self._claim()
            return await self.proposer.propose_one(
                self.door, snapshot, search_space=self.search_space, fixed=EMPTY, to_the_end=self.to_the_end
            )

    def _claim(self) -> Enqueued:
        self._claims += 1
        return Enqueued()

    def discard(self, candidate: Candidate) -> None:
        """Give a candidate back."""
        match candidate:
            case Proposal():
                self.door.release(candidate)
            case Enqueued():
                self._claims -= 1

    async def create(self, candidate: Candidate) -> Trial | None:
        """Make the candidate a RUNNING trial; None if somebody else had claimed the enqueued one."""
        match candidate:
            case Proposal():
                written = self.search_space is not None
                return await self.lanes.storage.run(self.door.create, candidate, written=written, run=self.run)
            case Enqueued():
                self._claims -= 1
                return await self.lanes.storage.run(self.door.pop_waiting)
            case SamplersTurn():
                return await self.lanes.helper.run(self.lanes.stoppable, self.door.ask, self.search_space)

    async def fill_in(self, trial: Trial) -> None:
        """Give an enqueued trial the values that whoever enqueued it left open."""
        if self.proposer is None:
            await self.lanes.helper.run(self.door.complete, trial, self.search_space or {})
            return
        fixed = {**self.door.fixed_params(trial), **trial.params}
        snapshot = self.door.snapshot()
        known = self.search_space or self.proposer.search_space or snapshot.space
        proposal = Proposal(params={}, distributions={})
        if any(name not in fixed for name in known):
            proposal = await self.proposer.propose_one(self.door, snapshot, search_space=self.search_space, fixed=fixed)
        await self.lanes.storage.run(self._write, trial, proposal)

    def _write(self, trial: Trial, proposal: Proposal) -> None:
        self.door.hand_over(trial, proposal)
        self.door.record(trial._trial_id, proposal, self.run)
        self.door.complete(trial, self.search_space or {})
