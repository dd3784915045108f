"""From nothing to a trial: a candidate is found while no trial exists, and becomes one in one step."""

import itertools
import logging
from dataclasses import dataclass, replace
from typing import TypeAlias

from optuna import Trial
from optuna.trial import FrozenTrial

from ..errors import NoRoom
from ..fleet.lease_keeper import Keeper
from ..fleet.leases import run_of
from ..fleet.total_trials import has_place, room
from ..outcome import surplus
from ..protocols import Proposer
from ..records import EMPTY, Params, Proposal, SearchSpace
from ..study.door import StudyDoor, fixed_params
from ..study.lanes import Lanes, Shared
from ..study.retrying import insist
from ..study.snapshot import Snapshot, same_as

logger = logging.getLogger("optuna_llm.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A claim on a WAITING trial, and a proposal for what it leaves open."""

    trial: FrozenTrial
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class SamplersTurn:
    """The sampler needs a trial to propose: it gets an enqueued one first, else a new one."""


Candidate: TypeAlias = Proposal | Enqueued | SamplersTurn


class Asker:
    """Finds candidates and makes them trials, for one run of one study.

    `total`: how many trials the study is to have in all, COMPLETE or PRUNED; None for no end.
    """

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
        total: int | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.door = door
        self.ledger = door.ledger
        self.proposer = proposer
        self.lanes = lanes
        self.search_space = search_space
        self.run = run
        self.fixed = fixed
        self.to_the_end = to_the_end
        self.total = total
        self.keeper = keeper
        self._look = Shared(lanes.storage, keeper.look if keeper is not None else lambda: 0)
        self._made: set[int] = set()  # numbers of the trials that this run has made
        self._promised = 0  # places for candidates that are no trials yet

    async def candidate(self) -> Candidate:
        """An enqueued trial if one is free, else a proposal; no trial exists yet, so it may fail or be cancelled.

        Raises `NoRoom` if the study's total leaves no place for one more.
        """
        if self.proposer is None and self.total is None:
            return SamplersTurn()
        with self.ledger.asking():  # before the first await, so that proposals of one wave know of each other
            snapshot = await self.lanes.refresh()
            while (waiting := self._first_waiting(snapshot)) is None and not self._promise(snapshot):
                snapshot = await self._after_others(snapshot)
            if self.proposer is None:
                return SamplersTurn()
            if waiting is not None:
                return await self._enqueued(self.proposer, waiting, snapshot)
            try:
                proposal = await self.proposer.propose_one(
                    self.door, search_space=self.search_space, fixed=self.fixed, stop_when_exhausted=self.to_the_end
                )
            except BaseException:
                self._promised -= 1
                raise
            return self._with_fixed(proposal)

    def _has_place(self, number: int, snapshot: Snapshot) -> bool:
        return self.total is None or has_place(number, snapshot, self.total)

    def _takeable(self, snapshot: Snapshot) -> list[FrozenTrial]:
        return [trial for trial in snapshot.waiting if self._has_place(trial.number, snapshot)]

    def _first_waiting(self, snapshot: Snapshot) -> FrozenTrial | None:
        """An enqueued trial that is free, claimed for the proposer; a sampler finds its own when its turn comes."""
        if self.proposer is None:
            return next(iter(self._takeable(snapshot)), None)
        return self.ledger.claim(lambda trial: self._has_place(trial.number, snapshot))

    def _promise(self, snapshot: Snapshot) -> bool:
        """Set a place aside for one candidate, if the study has one."""
        if self.total is not None and room(snapshot, self.total).free <= self._promised:
            return False
        self._promised += 1
        return True

    async def _after_others(self, full: Snapshot) -> Snapshot:
        """A newer snapshot, if a place came free since a full one, be it that the dead held it; else raises `NoRoom`.

        Who is there, and who is dead, is looked at after `full` was read: a lease is older than its trials.
        """
        total = self.total or 0
        complete = room(full, total).done >= total
        promised = self._promised > 0
        if not complete and any(run_of(trial) not in self.ledger.active for trial in full.running):
            await insist("looking after other runs", self._look)
            running = {trial.number for trial in self.ledger.snapshot().running}
            if any(trial.number not in running for trial in full.running):
                return await self.lanes.refresh()
        waits = not complete and (promised or self._may_free(full))
        raise NoRoom(f"the study has no place left within total_trials={self.total}", final=not waits)

    def _may_free(self, snapshot: Snapshot) -> bool:
        """Whether one of our runs has a place that may come free, or will once it is dead; no others are waited for."""
        if self._takeable(snapshot) or any(run_of(trial) in self.ledger.active for trial in snapshot.running):
            return True
        return self.keeper is not None and bool(self.keeper.held(snapshot.running))

    async def _enqueued(self, proposer: Proposer, waiting: FrozenTrial, snapshot: Snapshot) -> Enqueued:
        """What a trial leaves open is proposed while it waits, so that a failure leaves it waiting."""
        try:
            fixed = {**self.fixed, **fixed_params(waiting)}
            known = self.search_space or proposer.search_space or snapshot.space
            if all(name in fixed for name in known):
                return Enqueued(trial=waiting, proposal=Proposal(params={}, distributions={}))
            space = self.search_space
            proposal = await proposer.propose_one(self.door, search_space=space, fixed=fixed)
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
                self._promised -= 1
                self.ledger.give_up(candidate)
            case Enqueued(trial=trial, proposal=proposal):
                self.ledger.unclaim(trial.number)
                self.ledger.give_up(proposal)
            case SamplersTurn():
                self._promised = max(0, self._promised - 1)

    # -- creating: what follows runs on the lanes, but for the first

    async def create(self, candidate: Candidate) -> Trial | None:
        """Make the candidate a RUNNING trial; None if somebody else took the enqueued one, the configuration, or the
        last place.

        A storage that fails is tried again, for as long as no trial was made. Raises `OptunaLLMError` if it goes on
        failing, and what a sampler raises.
        """
        lane = self.lanes.helper if isinstance(candidate, SamplersTurn) else self.lanes.storage
        attempts = itertools.count()
        try:
            return await insist(
                "creating a trial",
                lambda: lane.run(self.lanes.stoppable, self._create, candidate, again=next(attempts) > 0),
                may_repeat=lambda: self._is_open(candidate),
            )
        except BaseException:
            if isinstance(candidate, Enqueued) and self._is_open(candidate):
                self.ledger.unclaim(candidate.trial.number)
                self.ledger.give_up(candidate.proposal)
            elif isinstance(candidate, Proposal) and self._is_open(candidate):
                self.ledger.give_up(candidate)
            raise
        finally:
            if not isinstance(candidate, Enqueued):
                self._promised = max(0, self._promised - 1)

    def _is_open(self, candidate: Candidate) -> bool:
        """Whether nothing has become of a candidate yet; of what samplers do by themselves that cannot be said."""
        match candidate:
            case Proposal():
                return self.ledger.reserves(candidate)
            case Enqueued(trial=trial):
                return self.ledger.claims(trial.number)
            case SamplersTurn():
                return False

    def _create(self, candidate: Candidate, *, again: bool) -> Trial | None:
        """`again`: an attempt has failed, perhaps only after it had stored the trial."""
        trial = self._stored(candidate) if again and isinstance(candidate, Proposal) else None
        if trial is None:
            if self._is_too_late(candidate):
                return None
            trial = self._created(candidate)
        if trial is None:
            return None
        self._made.add(trial.number)
        if self.total is None:
            return trial
        with self.door.setting_up(trial._trial_id):
            if has_place(trial.number, self.door.refresh(), self.total):
                return trial
            self.door.tell(trial, surplus(self.total))
        return None

    def _is_too_late(self, candidate: Candidate) -> bool:
        """Whether others have made its configuration a trial, or taken the last place; it is given up then."""
        if self.total is None and not self.ledger.shared:
            return False
        snapshot = self.door.refresh()
        full = self.total is not None and not self._takeable(snapshot) and room(snapshot, self.total).free < 1
        match candidate:
            case Proposal():
                late = full or (candidate.new and any(same_as(candidate.params, snapshot)))
                if late:
                    self.ledger.give_up(candidate)
                return late
            case Enqueued():
                return False
            case SamplersTurn():
                return full

    def _stored(self, proposal: Proposal) -> Trial | None:
        """The trial that an attempt has stored, and then failed."""
        written = self.search_space is not None
        for trial in self.door.refresh().running:
            ours = run_of(trial) == self.run and trial.number not in self._made
            if ours and self.door.holds(trial, proposal, written=written):
                return self.door.adopt(trial._trial_id, proposal, written=written)
        return None

    def _created(self, candidate: Candidate) -> Trial | None:
        match candidate:
            case Proposal():
                return self.door.create(candidate, written=self.search_space is not None, run=self.run)
            case Enqueued(trial=waiting, proposal=proposal):
                if not self._may_take(waiting):
                    self.ledger.unclaim(waiting.number)
                    self.ledger.give_up(proposal)
                    return None
                try:
                    return self.door.take(waiting, proposal, self.search_space or {}, self.run)
                finally:
                    self._took(waiting)
            case SamplersTurn():
                return self._sampled()

    def _sampled(self) -> Trial:
        """A trial for a sampler that proposes while it runs: an enqueued one that is to be had, or a new one."""
        waiting = self._takeable(self.door.refresh())
        mine = next((trial for trial in waiting if self._may_take(trial)), None)
        try:
            return self.door.ask(self.search_space, self.run, mine)
        finally:
            if mine is not None:
                self._took(mine)

    def _may_take(self, waiting: FrozenTrial) -> bool:
        if self.keeper is None:
            return self.door.is_waiting(waiting)
        return self.keeper.may_take(waiting.number, lambda: self.door.is_waiting(waiting))

    def _took(self, waiting: FrozenTrial) -> None:
        if self.keeper is not None:
            self.keeper.took(waiting.number)
