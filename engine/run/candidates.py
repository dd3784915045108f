"""Candidates: what may become a trial once a worker is free. Each kind knows how it is created and discarded."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial

from ..errors import OptunaLLMError
from ..fleet.total_trials import Place
from ..outcome import surplus
from ..records import Proposal
from ..study.attributes import run_of
from ..study.optuna_internals import id_of
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
        self._proposal = proposal
        self._place = place

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What asking for it took."""
        return self._proposal.provenance

    @property
    def is_open(self) -> bool:
        """Whether it is still reserved or claimed, that is neither a trial nor discarded; False if we cannot know."""
        return False

    def discard(self) -> None:
        """Give it back; what asking for it took stays spent."""
        self._context.places.release(self._place)
        self._door.give_up(self._proposal)

    async def create(self) -> Trial | None:
        """Make it a RUNNING trial; None if another run took the enqueued trial, the configuration or the last place.

        A storage that fails is tried again for as long as the candidate is open. Raises `OptunaLLMError` if the
        storage goes on failing, and what a sampler raises.
        """
        attempts = itertools.count()
        try:
            return await self._context.lanes.retry(
                "creating a trial",
                lambda: self._lane.run(self._context.lanes.stoppable, self._create, again=next(attempts) > 0),
                may_repeat=lambda error: not isinstance(error, OptunaLLMError) and self.is_open,
            )
        except BaseException:
            if self.is_open:
                self.discard()
            raise
        finally:
            self._context.places.release(self._place)

    # -- what follows runs on the lane

    def _create(self, *, again: bool) -> Trial | None:
        trial = self._take(again=again)
        if trial is None:
            return None
        self._context.created.add(trial.number)
        places = self._context.places
        if places.total is None:
            return trial
        with self._door.setting_up(id_of(trial)):
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
        return self._in_flight.is_reserved(self._proposal)

    def _take(self, *, again: bool) -> Trial | None:
        stored = self._stored() if again else None
        if stored is not None:
            return stored
        if self._is_late():
            self.discard()
            return None
        return self._door.create(self._proposal, params_in_one_write=self._written, run=self._context.run)

    def _stored(self) -> Trial | None:
        """The trial that an earlier, failed attempt already stored, if any."""
        for trial in self._door.refresh().running:
            ours = run_of(trial) == self._context.run and trial.number not in self._context.created
            if ours and self._door.is_made_of(trial, self._proposal, params_in_one_write=self._written):
                return self._door.adopt(id_of(trial), self._proposal, params_in_one_write=self._written)
        return None

    def _is_late(self) -> bool:
        """Whether another run made the same configuration a trial, or took the last place."""
        if self._context.places.total is None and not self._door.sharing.was_shared:
            return False
        snapshot = self._door.refresh()
        repeats = self._proposal.new and any(snapshot.with_params(self._proposal.params))
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
        context = self._context
        if not context.may_take(self._waiting):
            self.discard()
            return None
        try:
            return self._door.take(self._waiting, self._proposal, context.search_space or {}, context.run)
        finally:
            context.took(self._waiting)


class SamplerCandidate(Candidate):
    """The turn of a sampler that proposes while its trial runs: it gets an enqueued trial first, else a new one.

    It is never open: what a sampler did before it raised is not known, so it is not asked twice.
    """

    def __init__(self, context: RunContext, place: Place | None = None) -> None:
        super().__init__(context, Proposal(params={}, distributions={}), place)
        self._lane = context.lanes.helper  # a sampler may think for long, and must not hold up the storage

    def _take(self, *, again: bool) -> Trial | None:
        context = self._context
        snapshot = self._door.refresh()
        if context.places.is_full(snapshot):
            return None
        waiting = next((trial for trial in context.places.takeable(snapshot) if context.may_take(trial)), None)
        try:
            return self._door.ask(context.search_space, context.run, waiting)
        finally:
            if waiting is not None:
                context.took(waiting)
