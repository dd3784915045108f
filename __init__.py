"""Async, batch-parallel optimization: an LLM proposes every Optuna trial, within rate limits and a budget."""

from optuna_llm.engine import (
    BudgetExhaustedError,
    Objective,
    OptunaLLMError,
    Proposal,
    ProposalError,
    RunReport,
    UsageError,
    WorkerError,
    Workers,
    ask_async,
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
    QuotaExceededError,
    Reply,
    Request,
    ThrottledError,
    TransientError,
    Usage,
)
from optuna_llm.samplers.limits import Budget, Limits
from optuna_llm.samplers.recording import RecordingClient, ReplayClient
from optuna_llm.workers import AsyncTrial, CoroutineWorkers, ThreadWorkers
from optuna_llm.workers import default_workers as _default_workers

optimize_async = _Optimizer(_default_workers).optimize_async

__all__ = [
    "AsyncTrial",
    "AuthenticationError",
    "Best",
    "Budget",
    "BudgetExhaustedError",
    "Client",
    "ClientError",
    "ContextPolicy",
    "CoroutineWorkers",
    "DeadlineExceededError",
    "Evidence",
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
    "WorkerError",
    "Workers",
    "ask_async",
    "describe",
    "optimize_async",
]
