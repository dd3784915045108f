"""Every error that optuna-llm raises on purpose, as one tree; and how secrets are kept out of what errors say.

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

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

REMOVED: Final = "[removed]"
SHORTEST_SECRET: Final = 6  # local servers are given keys such as "none": removing those would only garble the text

_KEY_PREFIX: Final = r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|pplx|r8|tgp)"
_KEY_LIKE: Final = (
    # Not `skip_connect` or `hf_model_name`: keys have digits (or stars, where masked), or are one long word.
    re.compile(_KEY_PREFIX + r"-(?:(?=[-_A-Za-z]*[0-9*])[-_A-Za-z0-9*]{8,}|[A-Za-z]{16,})"),
    re.compile(_KEY_PREFIX + r"_(?:(?=[-_A-Za-z]*[0-9*])[-_A-Za-z0-9*]{16,}|[A-Za-z]{20,})"),
    re.compile(r"\b(?:AIza|AKIA)[-_A-Za-z0-9*]{8,}"),
    re.compile(r"(?i)(?<=\bbearer )\S+"),
    re.compile(r"(?i)(?<=[?&]key=)[^&\s'\"]+"),
    re.compile(r"(?i)(?<=api[-_]key=)[^&\s'\"]+"),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"\b(?=[A-Za-z_-]*[0-9])[-_A-Za-z0-9]{40,}"),
)


class OptunaLLMError(Exception):
    """Base of all errors of this library."""

    transient: ClassVar[bool] = False  # whether the same request may succeed later, unchanged


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
    """The study's total leaves no place for another trial; `final`: waiting cannot change that."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class WorkerError(OptunaLLMError):
    """The place where the objective ran failed, not the objective itself."""


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets` and without anything that looks like a key, a bearer token or a URL's password."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, REMOVED)
    for pattern in _KEY_LIKE:
        text = pattern.sub(REMOVED, text)
    return text
