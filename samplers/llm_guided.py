"""`LLMGuidedSampler`: every trial of a study is one complete configuration proposed by a language model."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self
from weakref import WeakKeyDictionary

import anyio
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..engine.arguments import instance, is_coroutine_function, meanings, number, require_single_objective, texts
from ..engine.errors import UsageError
from ..engine.logs import get_logger
from ..engine.names import undeclared
from ..engine.records import EMPTY, Params, Proposal, SearchSpace
from ..engine.study.attributes import fixed_params
from ..engine.study.door import StudyDoor
from ..engine.study.lanes import Lanes
from ..engine.study.optuna_internals import (
    fail_trial,
    objective_of_optimize,
    raise_at_end,
    stop,
    storage_of,
    study_id_of,
    unfiltered,
)
from ..engine.threads import unwrapped
from .ask import Ask
from .client.protocol import Client
from .client.resolve import resolve
from .guidance import Strategy, strategy_named
from .guidance.strategies import Plain
from .limits.budget import Account, Budget, require_prices
from .limits.limits import Limits
from .limits.stack import ClientStack, limits_of
from .prompt.messages import MAX_TASK, Subject
from .prompt.policy import ContextPolicy
from .proposer import StudyProposer, in_new_range
from .provenance import DISCOVERY
from .space.space import make_space, narrow
from .task import task_text

logger = get_logger("optuna_llm.samplers")

FACTS = ": optuna_llm.describe() makes text of an objective or of data"
NO_TASK = (
    "Neither task= nor parameters= is given: the model is told names and ranges alone, and can use little of what it "
    "knows. Say what is tuned, on what, and what is measured"
)
SHOWN_TASK = 40  # characters of a repr: enough to tell samplers apart


class LLMGuidedSampler(BaseSampler):
    """An Optuna sampler that asks a language model, once for each trial, for all parameters together.

    `model`: a LiteLLM model string (`"openai/gpt-5.4-mini"`), `"local"` or `"local:PATH.gguf"` for the embedded model,
    or a `Client`. `task` says what is tuned, on what, and the metric: a string, or several that are joined by blank
    lines, of which `describe` makes some; a prompt has room for 4,000 characters, and the longest parts are cut.
    `parameters` maps names to one-line meanings. `search_space` declares the union of all parameters, conditional ones
    included; without it the space follows from the study's trials, and the first trial asks for each name as it meets
    it. `limits` are rates that hold over everything in this process that uses the same client or model string; `budget`
    caps what is spent. `context` bounds what the prompt shows; `strategy` ("adaptive", "plain", "menu", or a `Strategy`
    of yours) decides whether the model is left free or chooses among computed candidates; `max_reasks` bounds the
    re-asks after an invalid reply; `seed` is passed to models that take one, and varies the candidates that strategies
    draw.

    There is no fallback: what the model cannot propose is a `ProposalError`. Samplers given the same `Client` object
    share its limits and its budget; those given last hold for all of them. A pickled or copied sampler starts with no
    connections, and no memory: the study holds it all.
    """

    def __init__(
        self,
        model: str | Client,
        *,
        task: str | Sequence[str] = "",
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
        self._subject = Subject(task=texts("task", task, FACTS), parameters=meanings(parameters))
        self._search_space = None if search_space is None else make_space(search_space).distributions
        self._policy = instance("context", context, ContextPolicy) or ContextPolicy()
        self._limits = instance("limits", limits, Limits)
        self._budget = instance("budget", budget, Budget)
        self._strategy = strategy_named(strategy)
        self._max_reasks = number("max_reasks", max_reasks, whole=True)
        self._seed = number("seed", seed, whole=True, optional=True)
        if isinstance(model, str) and not (task or parameters):
            logger.info("%s", NO_TASK)
        self._start()

    def _start(self) -> None:
        """Make what copies do not share: the client, its limits and budget, and views of studies."""
        client = resolve(self._model)
        require_prices(self._budget, client)
        self._name = self._model if isinstance(self._model, str) else repr(self._model)
        shared = limits_of(client)
        if self._limits is not None:
            shared.limiter.limits = self._limits
        self._account = Account(self._budget) if isinstance(self._model, str) else shared.account
        if self._budget is not None:
            self._account.budget = self._budget
        self._stack = ClientStack(client, shared.limiter, self._account)
        # By storage and study; one is gone with its storage.
        self._proposers: WeakKeyDictionary[BaseStorage, dict[int, StudyProposer]] = WeakKeyDictionary()
        # Guards `_proposers`: a study has one, since the budget watches the state of the last one that was made.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LLMGuidedSampler({self._model!r}, task={task_text(self._subject.task, MAX_TASK)[:SHOWN_TASK]!r})"

    # -- copies start without connections, locks and views

    def __getstate__(self) -> dict[str, Any]:
        transient = ("_stack", "_account", "_proposers", "_lock")
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
        return self._stack.capabilities.model

    @property
    def capped(self) -> bool:
        """Whether a budget ends its asks some day."""
        return self._account.capped

    def door(self, study: Study) -> StudyDoor:
        """A door to a study; all doors of one sampler to one study share what is in flight."""
        return self._proposer(study).door(study)

    async def propose(self, study: Study, n: int = 1) -> list[Proposal]:
        """`n` proposals computed concurrently, for the declared or known space; no trial is created.

        Raises `UsageError` if no parameter is known yet, `ProposalError` and client errors.
        """
        require_single_objective(study)
        number("n", n, low=1, whole=True)
        door = self.door(study)
        proposals: list[Proposal] = []

        async def one(lanes: Lanes) -> None:
            with door.in_flight.asking():
                snapshot = await lanes.refresh()
                if not (self._search_space or snapshot.space):
                    raise UsageError("no parameter is known yet: pass search_space= to LLMGuidedSampler")
                proposals.append(await self.propose_one(door))

        with Lanes(door) as lanes:
            try:
                with unwrapped():
                    async with anyio.create_task_group() as group:
                        for _ in range(n):
                            group.start_soon(one, lanes)
            finally:
                for proposal in proposals:
                    door.give_up(proposal)
                with anyio.CancelScope(shield=True):
                    await lanes.storage.run(door.save_spending)
        return proposals

    async def propose_one(
        self,
        door: StudyDoor,
        *,
        search_space: SearchSpace | None = None,
        fixed: Params = EMPTY,
        left: int | None = None,
        patience: float | None = None,
        stop_when_exhausted: bool = False,
    ) -> Proposal:
        """One reserved proposal; empty if this trial is to discover the space."""
        proposer = self._proposer(door.study)
        space = search_space or self._search_space
        if space is None:
            leader = await proposer.lead_discovery(door)
            if leader is not None:
                return leader
            space = door.snapshot().space
        else:
            proposer.check_meanings(space)
        ask = self._ask(
            proposer,
            space,
            fixed,
            conditional=search_space is None,
            left=left,
            patience=patience,
            stop_when_exhausted=stop_when_exhausted,
        )
        return await proposer.propose(door, ask)

    # -- sampling: Optuna's contract

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The declared space, else the union of the distributions of all trials."""
        if self._search_space is not None:
            return dict(self._search_space)
        proposer = self._proposer(study)
        door = proposer.door(study)
        proposer.lead_discovery_blocking(door, trial.number)
        return dict(door.refresh().space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One proposal for the whole space, in one call; what the trial already has is given to the model as fixed."""
        fixed = {**fixed_params(trial), **trial.params}
        if search_space.keys() <= fixed.keys():
            return {}
        proposer = self._proposer(study)
        door = proposer.door(study)
        door.refresh()
        proposer.require_fitting(self._search_space)
        if self._search_space is not None:
            proposer.check_meanings(self._search_space)
        columns = {**(self._search_space or {}), **search_space}
        ask = self._ask(proposer, columns, fixed, wanted=search_space, conditional=True)
        proposal = proposer.propose_for(trial, door, ask)
        door.in_flight.assign(proposal, trial.number)
        return dict(proposal.params)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for a range that changed since the proposal, or for a name that no trial has met.

        Raises `UsageError` for a name outside a declared space, before anything is asked for it.
        """
        if self._search_space is not None and param_name not in self._search_space:
            error = undeclared(param_name, self._search_space)
            raise_at_end(unfiltered(study), error)
            stop(study)
            raise error
        proposer = self._proposer(study)
        door = proposer.door(study)
        adapted = in_new_range(trial, door, param_name, param_distribution)
        if adapted is not None:
            return adapted[param_name]
        columns = {**door.refresh().space, param_name: param_distribution}
        proposer.require_fitting({param_name: param_distribution})
        ask = self._ask(proposer, columns, trial.params, wanted=[param_name], strategy=Plain(DISCOVERY))
        with proposer.discovery.meeting():
            proposal = proposer.propose_for(trial, door, ask)
        door.in_flight.release(proposal)
        return proposal.params[param_name]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Refuse, before the objective runs, what cannot work: Optuna would leave such a trial RUNNING."""
        try:
            require_single_objective(study)
            objective = objective_of_optimize()
            if objective is not None and is_coroutine_function(objective):
                raise UsageError(
                    "study.optimize cannot run an async objective: "
                    "use `await optuna_llm.optimize_async(study, objective, ...)`"
                )
        except UsageError as error:
            fail_trial(study, trial)
            raise_at_end(unfiltered(study), error)
            raise

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget what was in flight for the trial: its result is in the study now."""
        self._proposer(study).close(study, trial, state)

    # -- inside

    def _proposer(self, study: Study) -> StudyProposer:
        """The one proposer for a study, which sees all its trials, whatever a pruner filters."""
        study = unfiltered(study)
        id_ = study_id_of(study)
        with self._lock:
            known = self._proposers.setdefault(storage_of(study), {})
            if id_ not in known:
                known[id_] = StudyProposer(
                    study,
                    self._stack,
                    self._account,
                    declared=self._search_space or (),
                    meanings=self._subject.parameters,
                )
            return known[id_]

    def _ask(
        self,
        proposer: StudyProposer,
        distributions: SearchSpace,
        fixed: Params,
        *,
        wanted: Iterable[str] | None = None,
        **more: Any,
    ) -> Ask:
        """Ask for what is not `fixed` of `wanted`, or of all; the prompt shows all `distributions` of every trial.

        `more` are further fields of the ask.
        """
        columns = proposer.columns(distributions)
        names = columns.distributions if wanted is None else wanted
        return Ask(
            columns=columns,
            space=narrow(columns, [name for name in names if name not in fixed]),
            direction=proposer.direction,
            subject=self._subject,
            policy=self._policy,
            model=self._name,
            fixed=fixed,
            seed=self._seed,
            max_reasks=self._max_reasks,
            **{"strategy": self._strategy, **more},
        )
