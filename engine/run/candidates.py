"""Candidates: what may become a trial once a worker is free, and where a run finds them.

Each kind knows how it is created and discarded.
"""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace

from optuna import Trial
from optuna.trial import FrozenTrial

from ..errors import NoRoom, OptunaLLMError
from ..fleet.total_trials import Place
from ..outcome import surplus
from ..protocols import Proposer
from ..records import Proposal, Signature
from ..study.attributes import fixed_params, is_made_of, run_of
from ..study.optuna_internals import id_of
from ..study.snapshot import Snapshot
from ..threads import SharedJob
from .context import RunContext


class Candidate(ABC):
    """What may become a trial: `proposal` says how.

    It holds `place` until it is a trial or is discarded; None if it needs no new place. `has_content` is False if the
    model gave nothing for it.
    """

    has_content = True

    def __init__(self, context: RunContext, proposal: Proposal, place: Place | None) -> None:
        self._context = context
        self._door = context.door
        self._in_flight = context.door.in_flight
        self._lane = context.lanes.storage
        self.proposal = proposal
        self._place = place
        self._tried = False  # to store it
        self._by = Signature(run=context.run)

    @property
    def is_open(self) -> bool:
        """Whether it is still reserved or claimed, that is neither a trial nor discarded; False if we cannot know."""
        return False

    def discard(self) -> None:
        """Give it back; what asking for it took stays spent."""
        self._context.places.release(self._place)
        self._door.give_up(self.proposal)

    async def create(self, worker: int | None = None) -> Trial | None:
        """Make it a RUNNING trial of this worker of the run.

        None if another run took the enqueued trial, the configuration or the last place. A storage that fails is tried
        again for as long as the candidate is open, and cancellation put off: else a trial could be stored and nobody
        know of it. Raises `OptunaLLMError` if the storage goes on failing, and what a sampler raises.
        """
        self._by = Signature(run=self._context.run, worker=worker)
        try:
            return await self._context.lanes.store(
                "creating a trial",
                self._create,
                on=self._lane,
                may_repeat=lambda error: not isinstance(error, OptunaLLMError) and self.is_open,
                shield=True,
            )
        except BaseException:
            if self.is_open:
                self.discard()
            raise
        finally:
            self._context.places.release(self._place)

    # -- what follows runs on the lane

    def _create(self) -> Trial | None:
        again, self._tried = self._tried, True
        trial = self._take(again=again)
        if trial is None:
            return None
        self._context.created.add(trial.number)
        if self._context.places.total is None:
            return trial
        return self._door.set_up(id_of(trial), lambda: self._in_place(trial))

    def _in_place(self, trial: Trial) -> Trial | None:
        """The trial if the study has a place for it, else None, and it is told so."""
        places = self._context.places
        if places.has_place(trial.number, self._door.refresh()):
            return trial
        self._door.tell(trial, surplus(places.total))
        return None

    @abstractmethod
    def _take(self, *, again: bool) -> Trial | None:
        """The trial; None if none is to be had. `again`: an earlier attempt may have stored it and then failed."""


class ProposedCandidate(Candidate):
    """A configuration that the proposer computed, reserved until it is a trial."""

    def __init__(self, context: RunContext, proposal: Proposal, place: Place) -> None:
        super().__init__(context, proposal, place)
        self.has_content = bool(proposal.params)
        self._written = context.search_space is not None

    @property
    def is_open(self) -> bool:
        """Whether the proposal is still reserved."""
        return self._in_flight.is_reserved(self.proposal)

    def _take(self, *, again: bool) -> Trial | None:
        if again and (stored := self._stored()) is not None:
            return stored
        if self._is_late():
            self.discard()
            return None
        return self._door.create(self.proposal, params_in_one_write=self._written, by=self._by)

    def _stored(self) -> Trial | None:
        """The trial that an earlier, failed attempt already stored, if any."""
        for trial in self._door.refresh().running:
            ours = run_of(trial) == self._context.run and trial.number not in self._context.created
            if ours and is_made_of(trial, self.proposal, params_in_one_write=self._written):
                return self._door.adopt(id_of(trial), self.proposal, params_in_one_write=self._written)
        return None

    def _is_late(self) -> bool:
        """Whether another run made the same configuration a trial, or took the last place."""
        if self._context.places.total is None and not self._door.sharing.was_shared:
            return False
        snapshot = self._door.refresh()
        repeats = self.proposal.new and any(snapshot.with_params(self.proposal.params))
        return repeats or self._context.places.is_full(snapshot)


class EnqueuedCandidate(Candidate):
    """A claim on a WAITING trial, and a proposal for what that leaves open. It has its place in the study already."""

    def __init__(self, context: RunContext, proposal: Proposal, waiting: FrozenTrial) -> None:
        super().__init__(context, proposal, place=None)
        self._waiting = waiting

    @property
    def is_open(self) -> bool:
        """Whether the trial is still claimed."""
        return self._in_flight.is_claimed(self._waiting.number)

    def discard(self) -> None:
        """Leave the trial WAITING, and give up the proposal."""
        self._in_flight.unclaim(self._waiting.number)
        super().discard()

    def _take(self, *, again: bool) -> Trial | None:
        context, door = self._context, self._door
        popped = again and door.is_unsigned(self._waiting)  # by the earlier attempt, whose success was not heard of
        if not popped and not context.may_take(self._waiting):
            self.discard()
            return None
        try:
            return door.take(self._waiting, self.proposal, context.search_space or {}, self._by, popped=popped)
        finally:
            context.took(self._waiting)


class SamplerCandidate(Candidate):
    """The turn of a sampler that proposes while its trial runs: it gets an enqueued trial first, else a new one.

    It is open until the sampler is asked: what a sampler did before it raised is not known, so it is not asked twice.
    """

    def __init__(self, context: RunContext, place: Place | None = None) -> None:
        super().__init__(context, Proposal(params={}, distributions={}), place)
        self._lane = context.lanes.helper  # a sampler may think for long, and must not hold up the storage
        self._settled = False

    @property
    def is_open(self) -> bool:
        """Whether the sampler was not asked yet."""
        return not self._settled

    def discard(self) -> None:
        """Ask the sampler nothing."""
        self._settled = True
        super().discard()

    def _take(self, *, again: bool) -> Trial | None:
        context, door = self._context, self._door
        snapshot = door.refresh()
        context.require_fitting(snapshot)
        stored = self._stored(snapshot) if again else None
        if stored is None and context.places.is_full(snapshot):
            self._settled = True
            return None
        trial_id = self._begin(snapshot) if stored is None else id_of(stored)
        self._settled = True
        return door.ask(trial_id, context.search_space)

    def _begin(self, snapshot: Snapshot) -> int:
        context = self._context
        waiting = next((trial for trial in context.places.takeable(snapshot) if context.may_take(trial)), None)
        try:
            return self._door.begin(self._by, waiting)
        finally:
            if waiting is not None:
                context.took(waiting)

    def _stored(self, snapshot: Snapshot) -> FrozenTrial | None:
        """The trial that an earlier attempt stored, although it failed, if any."""
        ours = (trial for trial in snapshot.running if run_of(trial) == self._context.run)
        return next((trial for trial in ours if trial.number not in self._context.created), None)


class CandidateSource:
    """Finds candidates; `stop_when_exhausted` raises `SpaceExhausted` instead of proposing duplicates.

    `patience` is how long a pause may be that a provider asks for, in seconds; None leaves it to the proposer.
    """

    def __init__(
        self, context: RunContext, *, stop_when_exhausted: bool = False, patience: float | None = None
    ) -> None:
        self.context = context
        self._proposer = context.proposer
        self._places = context.places
        self._in_flight = context.door.in_flight
        self._stop_when_exhausted = stop_when_exhausted
        self._patience = patience
        keeper = context.keeper
        self._open: deque[Candidate] = deque()  # as they were found, the first one open
        self._reap_dead = SharedJob(context.lanes.storage, keeper.reap_dead if keeper is not None else lambda: 0)

    async def candidate(self, left: int | None = None) -> Candidate:
        """An enqueued trial if one is free, else a proposal; no trial exists yet, so this may fail or be cancelled.

        `left` proposals are to come in this run, this one included, None where no end is known.
        Raises `NoRoom` if the study's total leaves no place for one more, `UsageError` if the study cannot take the
        declared space, and what the proposer raises.
        """
        found = await self._find(left)
        self._open.append(found)
        while not self._open[0].is_open and len(self._open) > 1:
            self._open.popleft()
        return found

    def discard_open(self) -> None:
        """Give back every candidate that was found and is neither a trial nor discarded.

        A run that is cancelled may lose one anywhere on its way: an event may be dropped, and a task never begin.
        """
        for candidate in self._open:
            if candidate.is_open:
                candidate.discard()
        self._open.clear()

    async def _find(self, left: int | None) -> Candidate:
        if self._proposer is None and self._places.total is None:
            return SamplerCandidate(self.context)
        with self._in_flight.asking():  # before the first await, so that proposals of one wave know of each other
            snapshot = await self.context.lanes.refresh()
            self.context.require_fitting(snapshot)
            while True:
                if snapshot.waiting and (takeable := self._places.takeable(snapshot)):
                    if self._proposer is None:  # a sampler finds its own when its turn comes
                        return SamplerCandidate(self.context)
                    if (waiting := self._in_flight.claim(takeable)) is not None:
                        return await self._for_waiting(self._proposer, waiting, snapshot, left)
                if (place := self._places.take(snapshot)) is not None:
                    return await self._for_place(place, left)
                snapshot = await self._free_a_place(snapshot)

    async def _for_waiting(
        self, proposer: Proposer, waiting: FrozenTrial, snapshot: Snapshot, left: int | None
    ) -> Candidate:
        """Propose what a trial leaves open while it still waits, so that a failure leaves it waiting."""
        space = self.context.search_space
        fixed = {**self.context.fixed, **fixed_params(waiting)}
        proposal = Proposal(params={}, distributions={})
        try:
            if not all(name in fixed for name in space or proposer.search_space or snapshot.space):
                proposal = await proposer.propose_one(
                    self.context.door, search_space=space, fixed=fixed, left=left, patience=self._patience
                )
        except BaseException:
            self._in_flight.unclaim(waiting.number)
            raise
        return EnqueuedCandidate(self.context, proposal, waiting)

    async def _for_place(self, place: Place, left: int | None) -> Candidate:
        if self._proposer is None:
            return SamplerCandidate(self.context, place)
        context = self.context
        try:
            proposal = await self._proposer.propose_one(
                context.door,
                search_space=context.search_space,
                fixed=context.fixed,
                left=min((end for end in (left, place.left) if end is not None), default=None),
                patience=self._patience,
                stop_when_exhausted=self._stop_when_exhausted,
            )
        except BaseException:
            self._places.release(place)
            raise
        return ProposedCandidate(context, self._with_fixed(proposal), place)

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
        active = self.context.door.sharing.active_runs
        if not reached and any(run_of(trial) not in active for trial in full.running):
            await self.context.lanes.retry_shared("looking after other runs", self._reap_dead)
            running = {trial.number for trial in self.context.door.snapshot().running}
            if any(trial.number not in running for trial in full.running):
                return await self.context.lanes.refresh()
        final = reached or not (set_aside or self._may_free_a_place(full))
        raise NoRoom(
            f"the study has no place left within total_trials={self._places.total}", final=final, reached=reached
        )

    def _may_free_a_place(self, full: Snapshot) -> bool:
        """Whether waiting can help: a trial of a run that we know (alive or dead) may still fail and free its place."""
        return bool(self._places.takeable(full)) or len(self.context.leftover(full)) < len(full.running)
