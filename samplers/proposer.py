"""One study as one sampler in this process asks about it: what is in flight, views of it, and its proposals."""

import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache, partial

import anyio
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ..engine.arguments import require_single_objective
from ..engine.errors import OptunaLLMError, ProposalError, UsageError, about, brief
from ..engine.logs import get_logger
from ..engine.names import UnaskedNames, without_space
from ..engine.outcome import not_proposed
from ..engine.records import EMPTY, Params, Proposal, SearchSpace, Signature
from ..engine.study.attributes import llm_of, run_of
from ..engine.study.distributions import require_same_kinds, require_storable
from ..engine.study.door import StudyDoor
from ..engine.study.journal_repair import guard_journal
from ..engine.study.optuna_internals import raise_at_end, stop, storage_of
from ..engine.study.state import StudyState, UntrackedSpending
from ..engine.threads import settled, wait_future
from .ask import Ask, OpenAsks
from .client import llm_loop
from .discovery import POLL, Discovery
from .limits.bookkeeping import Books
from .limits.budget import Account
from .limits.stack import ClientStack
from .pipeline import propose
from .space.reply_model import conform
from .space.space import Space, make_space
from .view.following import OtherSpending
from .view.view import StudyView

logger = get_logger("optuna_llm.samplers")

# Sets of columns whose views are kept. A study has one or two, more only while its space changes.
KEPT_VIEWS = 8

# Seconds that a cancelled ask waits for its request to end, so that what it cost is known.
CANCELLATION_SECONDS = 2.0


class StudyProposer:
    """Proposes configurations for one study. Making one registers its spending with the account: make one a study.

    It holds neither the study nor its storage, which end, with their connections, when their user drops them.
    """

    def __init__(
        self,
        study: Study,
        stack: ClientStack,
        account: Account,
        *,
        declared: Iterable[str] = (),
        meanings: Iterable[str] = (),
    ) -> None:
        require_single_objective(study)
        self.discovery = Discovery()
        self._declared = UnaskedNames(declared)
        self._meanings = UnaskedNames(meanings, lambda left, _: without_space(left, self._known()))
        self._all_declared: SearchSpace | None = None
        self._stack = stack
        self.direction = direction = study.direction
        self._token = token = account.open_token()  # one's own: what two samplers owe is written side by side
        self._state = state = StudyState(account.runs)
        weakref.finalize(self, _close_token, account, token, state.spending).atexit = False
        guard_journal(storage_of(study))
        door = self.door(study)
        self._key, self._is_shareable = door.key, door.is_shareable
        stack.limiter.share(door.key, state.sharing)
        if account.capped:
            others = OtherSpending(account.runs)
            self._elsewhere = lambda: others.at(state.snapshot())  # kept here: an account looks at what lives
            account.watch(door.key, self._elsewhere)
        self._books = Books(account, stack.limiter)
        self._last_columns: tuple[SearchSpace, Space] | None = None

        @lru_cache(maxsize=KEPT_VIEWS)
        def asks_of(columns: Space) -> OpenAsks:
            return OpenAsks(StudyView(columns, direction), state.snapshot)

        self._asks = asks_of

    def door(self, study: Study) -> StudyDoor:
        """A door to the study; all doors share what is in flight."""
        return StudyDoor(study, self._state, token=self._token)

    def close(self, study: Study, trial: FrozenTrial, state: TrialState) -> None:
        """Forget what was in flight for a trial: its result is in the study now."""
        door = self.door(study)
        door.close(trial)
        door.save_spending()
        self.discovery.notify()
        runs_itself = run_of(trial) in self._state.sharing.active_runs  # and says of declared names what is to be said
        for names in (self._meanings,) if runs_itself else (self._meanings, self._declared):
            names.saw(self._state.history.space, complete=False)
            names.saw(trial.params, complete=state is TrialState.COMPLETE)
            _say(names.news())

    def check_meanings(self, declared: SearchSpace) -> None:
        """Say which meanings are of no parameter, once; `declared` is the whole space."""
        self._all_declared = declared
        self._meanings.saw(declared, complete=True)
        _say(self._meanings.news(over=True))

    def _known(self) -> SearchSpace:
        return self._state.history.space if self._all_declared is None else self._all_declared

    def columns(self, distributions: SearchSpace) -> Space:
        """The space of `distributions`, checked once for as long as they are the same object."""
        last = self._last_columns
        if last is None or last[0] is not distributions:
            with about(self._key):
                space = make_space(distributions)
                if self._is_shareable:
                    require_storable(distributions)
            self._last_columns = last = (distributions, space)
        return last[1]

    # -- proposing

    def require_fitting(self, distributions: SearchSpace | None) -> None:
        """Raise `UsageError` if the study, as last read, has other kinds of these parameters."""
        with about(self._key):
            require_same_kinds(distributions or EMPTY, self._state.snapshot().space)

    async def propose(self, door: StudyDoor, ask: Ask) -> Proposal:
        """One reserved proposal, from any loop; cancellation is carried to the LLM loop."""
        future = llm_loop.submit(partial(self._propose, door, ask))
        try:
            with about(door.key):
                return await wait_future(future)
        except BaseException:  # it may have been accepted and reserved at the same moment
            future.add_done_callback(partial(_give_up, door))
            await settled(future, CANCELLATION_SECONDS)
            raise

    def propose_for(self, trial: FrozenTrial, door: StudyDoor, ask: Ask) -> Proposal:
        """Propose for a trial that exists, from the thread that waits for it, and write the record on the trial.

        A `study.optimize` that runs on this thread raises the error as well; a fatal one stops it at once.
        """
        ask = replace(ask, number=trial.number, earlier=llm_of(door.stored(trial)))
        try:
            with door.in_flight.asking(), about(door.key):
                proposal = llm_loop.run_sync(partial(self._propose, door, ask))
        except Exception as error:
            door.save_spending()  # nobody may come again with this study
            raise_at_end(door.study, error)
            if _is_fatal(error):
                stop(door.study)
            door.record_failure(trial, not_proposed(error))
            if isinstance(error, OptunaLLMError):
                logger.debug("A proposal failed", exc_info=error)
                raise brief(error)  # noqa: B904 - the same error: Optuna logs it with its frames
            raise
        try:
            door.record(trial, proposal, Signature(run=door.token), ask.earlier or EMPTY)
        except BaseException:
            door.give_up(proposal)
            raise
        return proposal

    def _propose(self, door: StudyDoor, ask: Ask) -> Awaitable[Proposal]:
        """To be awaited on the LLM loop, where this is called."""
        return propose(ask, self._stack.calls(self._books, door, patience=ask.patience), self._asks(ask.columns), door)

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
        in_flight = door.in_flight  # `alive` is kept, and the door holds the study
        return self.discovery.lead_or_wait(
            known=lambda: bool(door.recent(POLL).space),
            alive=lambda: in_flight.is_open(leader),
            threaded=threaded,
            given_up=given_up,
        )


def _say(news: str | None) -> None:
    if news is not None:
        logger.warning("%s", news)


def _is_fatal(error: Exception) -> bool:
    passes = isinstance(error, ProposalError | UsageError)
    return isinstance(error, OptunaLLMError) and not (error.transient or passes)


def _close_token(account: Account, token: str, spending: UntrackedSpending) -> None:
    """Give back the name of a proposer that is gone; a service that loads its study for each request makes many."""
    if spending.is_nothing:
        account.close_token(token)


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
    with about(door.key):
        space = make_space({name: distribution})
    conformed = conform({space.keys[name]: proposal.params[name]}, space)
    for repair in conformed.repairs if conformed.params is not None else ():
        door.in_flight.add_repair(trial.number, f"{repair}: the range had changed")
    return conformed.params
