"""Conducts: who asks, who runs, who tells. Knows Optuna and anyio, and no model."""

from .errors import BudgetExhaustedError, OptunaLLMError, ProposalError, UsageError, WorkerError
from .outcome import Outcome
from .protocols import Proposer, Workers
from .records import Objective, Proposal
from .run.ask import ask_async
from .run.optimize import Optimizer
from .run.report import RunReport

__all__ = [
    "BudgetExhaustedError",
    "Objective",
    "Optimizer",
    "OptunaLLMError",
    "Outcome",
    "Proposal",
    "ProposalError",
    "Proposer",
    "RunReport",
    "UsageError",
    "WorkerError",
    "Workers",
    "ask_async",
]
