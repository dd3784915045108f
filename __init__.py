"""Async, batch-parallel optimization: an LLM proposes every Optuna trial, within rate limits and a budget."""

from optuna_llm.engine import (
    BudgetExhaustedError,
    Call,
    Failure,
    Objective,
    OptunaLLMError,
    Outcome,
    Proposal,
    ProposalError,
    RunReport,
    UsageError,
    WorkerCapabilities,
    WorkerError,
    Workers,
    ask_async,
    to_dataframe,
)
from optuna_llm.engine import Optimizer as _Optimizer
from optuna_llm.samplers import (
    Best,
    ContextPolicy,
    Evidence,
    Guidance,
    InFlightConfiguration,
    LLMGuidedSampler,
    OpenAsk,
    Situation,
    Strategy,
    TrialWindow,
    describe,
)
from optuna_llm.samplers.client import (
    AuthenticationError,
    Client,
    ClientError,
    DeadlineExceededError,
    FunctionClient,
    LiteLLMClient,
    ModelNotFoundError,
    Prices,
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    Usage,
)
from optuna_llm.samplers.limits import Budget, Limits
from optuna_llm.samplers.recording import RecordingClient, ReplayClient
from optuna_llm.workers import (
    AsyncTrial,
    CoroutineWorkers,
    DaskWorkers,
    ExecutorWorkers,
    ProcessWorkers,
    ThreadWorkers,
)
from optuna_llm.workers import default_workers as _default_workers

__version__ = "0.1.0"
"""The version of this library."""

_optimizer = _Optimizer(_default_workers)
optimize = _optimizer.optimize
optimize_async = _optimizer.optimize_async

__all__ = [
    "AsyncTrial",
    "AuthenticationError",
    "Best",
    "Budget",
    "BudgetExhaustedError",
    "Call",
    "Client",
    "ClientError",
    "ContextPolicy",
    "CoroutineWorkers",
    "DaskWorkers",
    "DeadlineExceededError",
    "Evidence",
    "ExecutorWorkers",
    "Failure",
    "FunctionClient",
    "Guidance",
    "InFlightConfiguration",
    "LLMGuidedSampler",
    "Limits",
    "LiteLLMClient",
    "ModelNotFoundError",
    "Objective",
    "OpenAsk",
    "OptunaLLMError",
    "Outcome",
    "Prices",
    "ProcessWorkers",
    "Proposal",
    "ProposalError",
    "QuotaExceededError",
    "RecordingClient",
    "ReplayClient",
    "Reply",
    "Request",
    "RunReport",
    "Situation",
    "Strategy",
    "ThreadWorkers",
    "ThrottledError",
    "TransientError",
    "TrialWindow",
    "Usage",
    "UsageError",
    "WorkerCapabilities",
    "WorkerError",
    "Workers",
    "__version__",
    "ask_async",
    "describe",
    "optimize",
    "optimize_async",
    "to_dataframe",
]
