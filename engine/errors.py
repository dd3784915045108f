"""Every error that optuna-llm raises on purpose, as one tree.

    OptunaLLMError
    ├── UsageError (also a ValueError)     the call is wrong: fix it; raised before anything runs
    ├── ProposalError                      no valid configuration after the re-asks
    ├── BudgetExhaustedError               the next request could exceed the budget
    ├── WorkerError                        a worker died under the objective
    └── ClientError                        the model could not be reached or did not answer
        ├── AuthenticationError            fatal: the key is missing or refused
        ├── ModelNotFoundError             fatal: the provider does not know the model
        ├── QuotaExceededError             fatal: the account has no quota left
        ├── ThrottledError                 retried: too many requests or tokens
        ├── TransientError                 retried: the connection or the server failed
        └── DeadlineExceededError          retried: no answer within the timeout

The client errors live with the client; the engine only looks at `transient`. Three more stay inside: `SpaceExhausted`
and `NoRoom` end a run of `optimize_async` well, and `SetUpError` is a `ProposalError` that the storage caused.
"""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

THIS_RUN: Final = "this run"  # in place of the key of a study, where an error does not know it: the run fills it in


class OptunaLLMError(Exception):
    """Base of all errors of this library."""

    transient: ClassVar[bool] = False  # whether the same request may succeed later, unchanged
    study: Hashable = None  # the key of the study that it is about: an objective, or a model, may use another one
    provenance: Mapping[str, Any] = MappingProxyType({})  # of an ask that came to nothing: what its replies took


class UsageError(OptunaLLMError, ValueError):
    """The call cannot work as it was written; the message says what to change."""


class ProposalError(OptunaLLMError):
    """The model gave no valid configuration within the allowed re-asks; `provenance` says what the calls took."""

    def __init__(self, message: str = "", *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.provenance = provenance or {}


class SetUpError(ProposalError):
    """The storage raised while a new trial was set up; the trial is failed. Several in a row end a run."""


class BudgetExhaustedError(OptunaLLMError):
    """The next request could exceed the budget, so it was not sent."""


class SpaceExhausted(OptunaLLMError):
    """Every configuration of a finite search space is evaluated or in flight: a reason to end a run well."""


class NoRoom(OptunaLLMError):
    """The study's total leaves no place for another trial.

    `final`: waiting cannot change that; `reached`: because the study has so many, and not because others hold places.
    """

    def __init__(self, message: str, *, final: bool, reached: bool = True) -> None:
        super().__init__(message)
        self.final = final
        self.reached = reached


class WorkerError(OptunaLLMError):
    """The place where the objective ran failed, not the objective itself."""


def brief(error: OptunaLLMError) -> OptunaLLMError:
    """The error without the frames that it came through: its message says it all, a hundred lines of them nothing.

    Where a caller's own code may have caused it, the frames stay.
    """
    return error if isinstance(error, UsageError | WorkerError) else error.with_traceback(None)


class about:  # noqa: N801 - it reads as a function, and a generator would be slower
    """Have this library's errors say that they are about a study, unless they are about another one already."""

    __slots__ = ("_study",)

    def __init__(self, study: Hashable) -> None:
        self._study = study

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        if isinstance(error, OptunaLLMError):
            error.study = error.study or self._study
