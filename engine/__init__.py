"""Conducts: who asks, who runs, who tells. Knows Optuna and anyio, and no model."""

from .errors import BudgetExhaustedError, OptunaLLMError, ProposalError, UsageError, WorkerError
from .outcome import Failure, Outcome
from .protocols import Proposer, WorkerCapabilities, Workers
from .records import Call, Objective, Proposal
from .run.ask import ask_async
from .run.optimize import Optimizer
from .run.report import RunReport
from .table import to_dataframe

__all__ = [
    "BudgetExhaustedError",
    "Call",
    "Failure",
    "Objective",
    "Optimizer",
    "OptunaLLMError",
    "Outcome",
    "Proposal",
    "ProposalError",
    "Proposer",
    "RunReport",
    "UsageError",
    "WorkerCapabilities",
    "WorkerError",
    "Workers",
    "ask_async",
    "to_dataframe",
]
