"""One study as one sampler in this process asks about it: what is in flight, views of it, and its proposals."""

import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache, partial

import anyio
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ..engine.arguments import require_single_objective
from ..engine.errors import OptunaLLMError, ProposalError, UsageError
from ..engine.records import Params, Proposal, SearchSpace
from ..engine.study.attributes import llm_of
from ..engine.study.door import StudyDoor
from ..engine.study.journal_repair import guard_journal
from ..engine.study.optuna_internals import may_stop, storage_of
from ..engine.study.state import StudyState
from ..engine.threads import settled, wait_future
from .ask import Ask, OpenAsks
from .client import llm_loop
from .discovery import POLL, Discovery
from .limits.budget import Account
from .limits.stack import ClientStack
from .pipeline import propose
from .space.reply_model import conform
from .space.space import Space, make_space
from .view.following import OtherSpending
from .view.view import StudyView

# Sets of columns whose views are kept. A study has one or two, more only while its space changes.
KEPT_VIEWS = 8

# Seconds that a cancelled ask waits for its request to end, so that what it cost is known.
CANCELLATION_SECONDS = 2.0


class StudyProposer:
    """Proposes configurations for one study. Making one registers its spending with the account: make one a study."""

    def __init__(self, study: Study, stack: ClientStack, account: Account) -> None:
        require_single_objective(study)
        self.discovery = Discovery()
        self._stack = stack
        self.direction = direction = study.direction
        self._token = uuid.uuid4().hex[:12]  # not the account's: what two samplers owe is written side by side
        account.runs.add(self._token)
        self._state = state = StudyState(account.runs)
        self._door = self.door(study)  # kept, so that no other storage can get the id that is part of its key
        key = self._door.key
        guard_journal(storage_of(study))
        # Not `state`: a limiter may live as long as the process, and a state holds all trials.
        stack.limiter.share(key, state.sharing)
        if account.capped:
            others = OtherSpending(account.runs)
            # Not `self`: an account lives as long as its client, and a proposer holds the client.
            account.watch(key, lambda: others.at(state.snapshot()))
        self._last_columns: tuple[SearchSpace, Space] | None = None

        @lru_cache(maxsize=KEPT_VIEWS)
        def asks_of(columns: Space) -> OpenAsks:
            return OpenAsks(StudyView(columns, direction), state.snapshot)

        self._asks = asks_of

    def door(self, study: Study) -> StudyDoor:
        """A door to the study; all doors share what is in flight."""
        return StudyDoor(study, self._state, token=self._token)

    def close(self, trial: FrozenTrial) -> None:
        """Forget what was in flight for a trial: its result is in the study now."""
        self._door.close(trial)
        self._door.save_spending()
        self.discovery.notify()

    def columns(self, distributions: SearchSpace) -> Space:
        """The space of `distributions`, checked once for as long as they are the same object."""
        last = self._last_columns
        if last is None or last[0] is not distributions:
            self._last_columns = last = (distributions, make_space(distributions))
        return last[1]

    # -- proposing

    async def propose(self, door: StudyDoor, ask: Ask) -> Proposal:
        """One reserved proposal, from any loop; cancellation is carried to the LLM loop."""
        future = llm_loop.submit(partial(self._propose, door, ask))
        try:
            return await wait_future(future)
        except BaseException:  # it may have been accepted and reserved at the same moment
            future.add_done_callback(partial(_give_up, door))
            await settled(future, CANCELLATION_SECONDS)
            raise

    def propose_for(self, trial: FrozenTrial, door: StudyDoor, ask: Ask) -> Proposal:
        """Propose for a trial that exists, from the thread that waits for it, and write the record on the trial.

        A fatal error stops the `study.optimize` that runs on this thread as well.
        """
        ask = replace(ask, number=trial.number, earlier=llm_of(door.stored(trial)))
        try:
            with door.in_flight.asking():
                proposal = llm_loop.run_sync(partial(self._propose, door, ask))
        except OptunaLLMError as error:
            fatal = not (error.transient or isinstance(error, ProposalError | UsageError))
            if fatal and may_stop(door.study):
                door.study.stop()
            raise
        try:
            door.record(trial, proposal, run=door.token)
        except BaseException:
            door.give_up(proposal)
            raise
        return proposal

    def _propose(self, door: StudyDoor, ask: Ask) -> Awaitable[Proposal]:
        """To be awaited on the LLM loop, where this is called."""
        return propose(ask, self._stack.calls(), self._asks(ask.columns), door)

    # -- discovering the space

    async def lead_discovery(self, door: StudyDoor) -> Proposal | None:
        """An empty reserved proposal if the next trial is to discover the space; else None, once the space is known."""
        if door.snapshot().space and not self.discovery.busy:
            return None
        leader = Proposal(params={}, distributions={})
        door.in_flight.reserve(leader)  # it leads for as long as it is reserved or its trial runs
        given_up = threading.Event()

        def wait() -> bool:
            leads = self._lead_or_wait(door, leader, threaded=False, given_up=given_up.is_set)
            if not leads:
                door.refresh()  # all that the leader has met, to the last parameter
            return leads

        leads = False
        try:
            limiter = anyio.CapacityLimiter(1)  # the default one belongs to the user's own threads
            leads = await anyio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=limiter)
        finally:
            given_up.set()
            if not leads:
                door.in_flight.release(leader)
        return leader if leads else None

    def lead_discovery_blocking(self, door: StudyDoor, number: int) -> None:
        """Return when trial `number` leads the discovery of the space, or when the space is known."""
        leader = Proposal(params={}, distributions={})
        if self._lead_or_wait(door, leader, threaded=True):
            door.in_flight.assign(leader, number)

    def _lead_or_wait(
        self, door: StudyDoor, leader: Proposal, *, threaded: bool, given_up: Callable[[], bool] = lambda: False
    ) -> bool:
        return self.discovery.lead_or_wait(
            known=lambda: bool(door.recent(POLL).space),
            alive=lambda: door.in_flight.is_open(leader),
            threaded=threaded,
            given_up=given_up,
        )


def _give_up(door: StudyDoor, future: Future[Proposal]) -> None:
    if not future.cancelled() and future.exception() is None:
        door.give_up(future.result())


def in_new_range(trial: FrozenTrial, door: StudyDoor, name: str, distribution: BaseDistribution) -> Params | None:
    """The value that was proposed for the range that the parameter had, put into the one that it has now.

    None if the trial was proposed no value for it, or one that fits no more.
    """
    proposal = door.in_flight.assigned(trial.number)
    if proposal is None or name not in proposal.params:
        return None
    space = make_space({name: distribution})
    conformed = conform({space.keys[name]: proposal.params[name]}, space)
    for repair in conformed.repairs if conformed.params is not None else ():
        door.in_flight.add_repair(trial.number, f"{repair}: the range had changed")
    return conformed.params
