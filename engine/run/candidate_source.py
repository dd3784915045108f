"""Finds candidates for one run: an enqueued trial if there is one, else a proposal. No trial is created here."""

from dataclasses import replace

from optuna.trial import FrozenTrial

from ..errors import NoRoom
from ..fleet.total_trials import Place
from ..records import Proposal
from ..study.attributes import fixed_params, run_of
from ..study.snapshot import Snapshot
from ..threads import SharedJob
from .candidates import Candidate, EnqueuedCandidate, ProposedCandidate, SamplerCandidate
from .context import RunContext


class CandidateSource:
    """Finds candidates; `stop_when_exhausted` raises `SpaceExhausted` instead of proposing duplicates."""

    def __init__(self, context: RunContext, *, stop_when_exhausted: bool = False) -> None:
        self.context = context
        self._proposer = context.proposer
        self._places = context.places
        self._in_flight = context.door.in_flight
        self._stop_when_exhausted = stop_when_exhausted
        keeper = context.keeper
        self._reap_dead = SharedJob(context.lanes.storage, keeper.reap_dead if keeper is not None else lambda: 0)

    async def candidate(self) -> Candidate:
        """An enqueued trial if one is free, else a proposal; no trial exists yet, so this may fail or be cancelled.

        Raises `NoRoom` if the study's total leaves no place for one more, and what the proposer raises.
        """
        if self._proposer is None and self._places.total is None:
            return SamplerCandidate(self.context)
        with self._in_flight.asking():  # before the first await, so that proposals of one wave know of each other
            snapshot = await self.context.lanes.refresh()
            while True:
                if (waiting := self._find_waiting(snapshot)) is not None:
                    return await self._for_waiting(waiting, snapshot)
                if (place := self._places.take(snapshot)) is not None:
                    return await self._for_place(place)
                snapshot = await self._free_a_place(snapshot)

    def _find_waiting(self, snapshot: Snapshot) -> FrozenTrial | None:
        """An enqueued trial that is free, claimed for the proposer; a sampler finds its own when its turn comes."""
        if self._proposer is None:
            return next(iter(self._places.takeable(snapshot)), None)
        return self._in_flight.claim(self._places.takeable(snapshot))

    async def _for_waiting(self, waiting: FrozenTrial, snapshot: Snapshot) -> Candidate:
        """Propose what a trial leaves open while it still waits, so that a failure leaves it waiting."""
        if self._proposer is None:
            return SamplerCandidate(self.context)
        context = self.context
        try:
            fixed = {**context.fixed, **fixed_params(waiting)}
            known = context.search_space or self._proposer.search_space or snapshot.space
            if all(name in fixed for name in known):
                proposal = Proposal(params={}, distributions={})
            else:
                proposal = await self._proposer.propose_one(
                    context.door, search_space=context.search_space, fixed=fixed
                )
        except BaseException:
            self._in_flight.unclaim(waiting.number)
            raise
        return EnqueuedCandidate(self.context, proposal, waiting)

    async def _for_place(self, place: Place) -> Candidate:
        if self._proposer is None:
            return SamplerCandidate(self.context, place)
        context = self.context
        try:
            proposal = await self._proposer.propose_one(
                context.door,
                search_space=context.search_space,
                fixed=context.fixed,
                stop_when_exhausted=self._stop_when_exhausted,
            )
        except BaseException:
            self._places.release(place)
            raise
        return ProposedCandidate(self.context, self._with_fixed(proposal), place)

    def _with_fixed(self, proposal: Proposal) -> Proposal:
        """Add what the sampler around the proposer fixes, where parameters are written at the ask."""
        space = self.context.search_space or {}
        fixed = {name: value for name, value in self.context.fixed.items() if name in space}
        if not fixed:
            return proposal
        params = {name: fixed.get(name, proposal.params.get(name)) for name in space}
        completed = replace(proposal, params=params, distributions=space)
        self._in_flight.reserve(completed)
        self._in_flight.release(proposal)
        return completed

    async def _free_a_place(self, full: Snapshot) -> Snapshot:
        """Look for dead runs once; return a fresh snapshot if that freed a place, else raise `NoRoom`.

        Leases are read after `full` was, and a run's lease is older than its trials: every run of a trial in `full`
        has one by now, or never will.
        """
        reached = self._places.is_reached(full)
        set_aside = self._places.set_aside  # read before the await: a candidate may give its place back meanwhile
        if not reached and self._has_trials_of_others(full):
            await self.context.lanes.retry("looking after other runs", self._reap_dead)
            running = {trial.number for trial in self.context.door.snapshot().running}
            if any(trial.number not in running for trial in full.running):
                return await self.context.lanes.refresh()
        final = reached or not (set_aside or self._may_free_a_place(full))
        raise NoRoom(f"the study has no place left within total_trials={self._places.total}", final=final)

    def _has_trials_of_others(self, full: Snapshot) -> bool:
        return any(run_of(trial) not in self.context.door.sharing.active_runs for trial in full.running)

    def _may_free_a_place(self, full: Snapshot) -> bool:
        """Whether waiting can help: a trial of a run that we know (alive or dead) may still fail and free its place."""
        active, keeper = self.context.door.sharing.active_runs, self.context.keeper
        if self._places.takeable(full) or any(run_of(trial) in active for trial in full.running):
            return True
        return keeper is not None and bool(keeper.with_lease(full.running))
