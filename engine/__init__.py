"""Conducts: who asks, who runs, who tells. Knows Optuna and anyio, and no model."""

from .ask import ask_async
from .errors import BudgetExhaustedError, OptunaLLMError, ProposalError, UsageError, WorkerError
from .protocols import Proposer, Workers
from .records import Objective, Outcome, Proposal
from .report import RunReport

__all__ = [
    "BudgetExhaustedError",
    "Objective",
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
