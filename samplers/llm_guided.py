"""`LLMGuidedSampler`: every trial of a study is one complete configuration proposed by a language model."""

import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Self

import anyio
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from ..engine.arguments import at_least, is_coroutine_function, require_single_objective
from ..engine.errors import OptunaLLMError, ProposalError, UsageError, unwrapped
from ..engine.records import EMPTY, Charge, Params, Proposal, SearchSpace, charge_of
from ..engine.study.door import StudyDoor, fixed_params, whole
from ..engine.study.lanes import Lanes
from ..engine.study.ledger import Ledger
from ..engine.study.snapshot import Snapshot, llm_of
from ..engine.threads import settled, wait_future
from .arguments import given, meanings, text
from .client import llm_loop
from .client.protocol import Client
from .client.resolve import resolve
from .desk import Desk
from .discovery import POLL
from .guidance import Strategy, chosen
from .guidance.plain import Plain
from .limits.budget import Account, Budget
from .limits.limits import Limits
from .limits.stack import ClientStack, limits_of
from .pipeline import propose
from .prompt.messages import Subject
from .prompt.policy import ContextPolicy
from .question import Ask, Question
from .roles import DISCOVERY
from .space.space import conform, make_space, narrow

SETTLING = 2.0  # seconds that a cancelled ask waits for its request to end


class LLMGuidedSampler(BaseSampler):
    """An Optuna sampler that asks a language model, once for each trial, for all parameters together.

    `model`: a LiteLLM model string (`"openai/gpt-5-mini"`), `"local"` or `"local:PATH.gguf"` for the embedded model, or
    a `Client`. `task` says what is tuned, on what, and the metric; `parameters` maps names to one-line meanings.
    `search_space` declares the union of all parameters, conditional ones included; without it the space follows from
    the study's trials, and the first trial asks for each name as it meets it. `limits` are rates that hold over
    everything in this process that uses the same client or model string; `budget` caps what is spent. `context` bounds
    what the prompt shows; `strategy` ("plain", "guided", "menu", "adaptive", or a `Strategy` of your own) decides what
    each ask is for and where it looks; `max_reasks` bounds the re-asks after an invalid reply; `seed` is passed to
    models that take one, and varies the candidates that strategies draw.

    There is no fallback: what the model cannot propose is a `ProposalError`. Samplers given the same `Client` object
    share its limits and its budget; those given last hold for all of them. A pickled or copied sampler starts with no
    connections, and no memory: the study holds it all.
    """

    def __init__(
        self,
        model: str | Client,
        *,
        task: str = "",
        parameters: Mapping[str, str] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        limits: Limits | None = None,
        budget: Budget | None = None,
        context: ContextPolicy | None = None,
        strategy: str | Strategy = "adaptive",
        max_reasks: int = 2,
        seed: int | None = None,
    ) -> None:
        self._model = model
        self._subject = Subject(task=text("task", task), parameters=meanings(parameters))
        self._search_space = None if search_space is None else make_space(search_space).distributions
        self._policy = given("context", context, ContextPolicy) or ContextPolicy()
        self._limits = given("limits", limits, Limits)
        self._budget = given("budget", budget, Budget)
        self._strategy = chosen(strategy)
        self._max_reasks = at_least("max_reasks", max_reasks, 0)
        self._seed = None if seed is None else at_least("seed", seed, 0)
        self._start()

    def _start(self) -> None:
        client = resolve(self._model)
        shared = limits_of(client)
        if self._limits is not None:
            shared.limiter.set_limits(self._limits)
        self._account = Account(self._budget) if isinstance(self._model, str) else shared.account
        if self._budget is not None:
            self._account.budget = self._budget
        self._line = ClientStack(client, shared.limiter, self._account)
        self._desks: dict[tuple[int, int], Desk] = {}

    def __repr__(self) -> str:
        return f"LLMGuidedSampler({self._model!r}, task={self._subject.task[:40]!r})"

    # -- copies start without connections, locks and views

    def __getstate__(self) -> dict[str, Any]:
        transient = ("_line", "_account", "_desks")
        return {name: value for name, value in self.__dict__.items() if name not in transient}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = type(self).__new__(type(self))
        copied.__setstate__(self.__getstate__())  # the model is shared: a client's limits are its own
        return copied

    # -- proposing: the engine's contract

    @property
    def search_space(self) -> SearchSpace | None:
        """The declared union of parameters, None if it follows from the study's trials."""
        return self._search_space

    @property
    def model(self) -> str:
        """What the client says that it asks: the model string, if it was made from one."""
        return self._line.capabilities.model

    def door(self, study: Study) -> StudyDoor:
        """A door to a study; all doors of one sampler to one study share what is in flight."""
        desk = self._desk(study)
        return StudyDoor(whole(study), desk.ledger, token=desk.token)

    async def propose(self, study: Study, n: int = 1) -> list[Proposal]:
        """`n` proposals computed concurrently, for the declared or known space; no trial is created.

        Raises `UsageError` if no parameter is known yet, `ProposalError` and client errors.
        """
        require_single_objective(study)
        at_least("n", n, 1)
        door = self.door(study)
        proposals: list[Proposal] = []

        async def one(lanes: Lanes) -> None:
            with door.ledger.asking():
                snapshot = await lanes.refresh()
                if not (self._search_space or snapshot.space):
                    raise UsageError("no parameter is known yet: pass search_space= to LLMGuidedSampler")
                proposals.append(await self.propose_one(door, snapshot))

        with Lanes(door) as lanes:
            try:
                with unwrapped():
                    async with anyio.create_task_group() as group:
                        for _ in range(n):
                            group.start_soon(one, lanes)
            finally:
                for proposal in proposals:
                    door.ledger.give_up(proposal)
                with anyio.CancelScope(shield=True):
                    await lanes.storage.run(door.pay)
        return proposals

    async def propose_one(
        self,
        door: StudyDoor,
        snapshot: Snapshot,
        *,
        search_space: SearchSpace | None = None,
        fixed: Params = EMPTY,
        to_the_end: bool = False,
    ) -> Proposal:
        """One reserved proposal; empty if this trial is to discover the space."""
        space = search_space or self._search_space
        if space is None:
            leader = await self._discover(door, snapshot)
            if leader is not None:
                return leader
            space = door.ledger.snapshot().space
        ask = Ask(
            columns=space,
            wanted=[name for name in space if name not in fixed],
            fixed=fixed,
            union=search_space is None,
            to_the_end=to_the_end,
        )
        future = llm_loop.submit(partial(self._propose, door, ask))
        try:
            return await wait_future(future)
        except BaseException:  # it may have been accepted and reserved at the same moment
            future.add_done_callback(partial(_release, door.ledger))
            await settled(future, SETTLING)  # what was spent is known when the task has ended
            raise

    async def _discover(self, door: StudyDoor, snapshot: Snapshot) -> Proposal | None:
        """An empty proposal if the trial is to discover the space; else None, once the space is known."""
        discovery = self._desk(door.study).discovery
        if snapshot.space and not discovery.busy:
            return None
        leader = Proposal(params={}, distributions={})
        door.ledger.reserve(leader)  # it leads for as long as it is reserved or its trial runs
        given_up = threading.Event()

        def wait() -> bool:
            leads = discovery.lead_or_wait(
                known=lambda: bool(door.recent(POLL).space),
                alive=lambda: door.ledger.holds(leader),
                threaded=False,
                given_up=given_up.is_set,
            )
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
                door.ledger.release(leader)
        return leader if leads else None

    # -- sampling: Optuna's contract

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The declared space, else the union of the distributions of all trials."""
        require_single_objective(study)
        if self._search_space is not None:
            return dict(self._search_space)
        door, desk = self.door(study), self._desk(study)
        leader = Proposal(params={}, distributions={})
        leads = desk.discovery.lead_or_wait(
            known=lambda: bool(door.recent(POLL).space),
            alive=lambda: door.ledger.holds(leader),
            threaded=True,
        )
        if leads:
            door.ledger.assign(leader, trial.number)
        return dict(door.refresh().space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One proposal for the whole space, in one call; what the trial already has is given to the model as fixed."""
        require_single_objective(study)
        fixed = {**fixed_params(trial), **trial.params}
        wanted = [name for name in search_space if name not in fixed]
        if not wanted:
            return {}
        door = self.door(study)
        door.refresh()
        columns = {**(self._search_space or {}), **search_space}
        proposal = self._ask(
            study, trial, Ask(columns=columns, wanted=wanted, fixed=fixed, union=True, number=trial.number)
        )
        door.ledger.assign(proposal, trial.number)
        return dict(proposal.params)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for a range that changed since the proposal, or for a name that no trial has met."""
        require_single_objective(study)
        door, desk = self.door(study), self._desk(study)
        moved = self._moved(door, trial, param_name, param_distribution)
        if moved is not None:
            return moved.params[param_name]
        columns = {**door.refresh().space, param_name: param_distribution}
        ask = Ask(columns=columns, wanted=[param_name], fixed=trial.params, discovery=True, number=trial.number)
        with desk.discovery.meeting():
            asked = self._ask(study, trial, ask)
        door.ledger.release(asked)
        return asked.params[param_name]

    def _moved(self, door: StudyDoor, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Proposal | None:
        """The value that was proposed for the range that the parameter had, put into the one that it has now."""
        proposal = door.ledger.assigned(trial.number)
        if proposal is None or name not in proposal.params:
            return None
        space = make_space({name: distribution})
        conformed = conform({space.keys[name]: proposal.params[name]}, space)
        if conformed.params is None:
            return None
        for repair in conformed.repairs:
            door.ledger.note(trial.number, f"{repair}: the range had changed")
        return Proposal(params=conformed.params, distributions=space.distributions)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Refuse, before the objective runs, what cannot work: Optuna would leave such a trial RUNNING."""
        try:
            require_single_objective(study)
            if is_coroutine_function(_objective_of_optimize()):
                raise UsageError(
                    "study.optimize cannot run an async objective: "
                    "use `await optuna_llm.optimize_async(study, objective, ...)`"
                )
        except UsageError:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget what was in flight for the trial: its result is in the study now."""
        door = self.door(study)
        door.settle(trial._trial_id, trial.number)
        door.pay()
        self._desk(study).discovery.notify()

    # -- inside

    def _ask(self, study: Study, trial: FrozenTrial, ask: Ask) -> Proposal:
        """Propose for a trial that exists, from the thread that waits for it."""
        door = self.door(study)
        stored = llm_of(study._storage.get_trial(trial._trial_id))
        try:
            with door.ledger.asking():
                proposal = llm_loop.run_sync(partial(self._propose, door, ask, earlier=stored))
        except OptunaLLMError as error:
            fatal = not (error.transient or isinstance(error, ProposalError | UsageError))
            if fatal and door.study._thread_local.in_optimize_loop:
                door.study.stop()
            raise
        try:
            door.record(trial._trial_id, proposal, run=door.token)
        except BaseException:
            door.ledger.give_up(proposal)
            raise
        return proposal

    async def _propose(self, door: StudyDoor, ask: Ask, earlier: Mapping[str, Any] | None = None) -> Proposal:
        """Runs on the LLM loop: ask, and reserve what comes of it."""
        desk = self._desk(door.study)
        columns = desk.space(ask.columns)
        question = Question(
            columns=columns,
            space=narrow(columns, ask.wanted),
            direction=door.study.direction,
            subject=self._subject,
            policy=self._policy,
            strategy=Plain(DISCOVERY) if ask.discovery else self._strategy,
            menus=desk.line.capabilities.schema_per_ask,
            fixed=ask.fixed,
            seed=self._seed,
            max_reasks=self._max_reasks,
            number=ask.number,
            earlier=earlier,
            union=ask.union,
            to_the_end=ask.to_the_end,
        )
        name = self._model if isinstance(self._model, str) else repr(self._model)
        conversation = desk.line.calls()
        carried = charge_of(earlier or {})
        try:
            proposal = await propose(question, conversation, desk.memory(columns), name, door.refresh)
            door.ledger.reserve(proposal)
            carried = charge_of(proposal.provenance) - carried
        except BaseException:
            carried = Charge()
            raise
        finally:
            door.ledger.owe(conversation.spent - carried)
        return proposal

    def _desk(self, study: Study) -> Desk:
        behind = whole(study)  # the model sees all trials, whatever a pruner filters
        key = (id(behind._storage), behind._study_id)
        desk = self._desks.get(key)
        return desk if desk is not None else self._desks.setdefault(key, Desk(behind, self._line, self._account))


def _release(ledger: Ledger, future: Future[Proposal]) -> None:
    if not future.cancelled() and future.exception() is None:
        ledger.give_up(future.result())


def _objective_of_optimize() -> Any:
    """The objective of the `study.optimize` that runs on this thread, if one does; Optuna does not tell samplers."""
    frame = sys._getframe()
    for _ in range(8):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code.co_name == "_run_trial" and frame.f_globals.get("__name__") == "optuna.study._optimize":
            return frame.f_locals.get("func")
    return None
