"""The records that travel between the rooms: a proposal before it is a trial, an outcome before it is told."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from optuna import Trial
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from .threads import JobThread

Objective: TypeAlias = Callable[[Any], float | None] | Callable[[Any], Awaitable[float | None]]
"""What is optimized: `def f(trial) -> float`, or `async def f(trial: AsyncTrial) -> float`."""

Params: TypeAlias = Mapping[str, Any]
SearchSpace: TypeAlias = Mapping[str, BaseDistribution]

EMPTY: Mapping[Any, Any] = MappingProxyType({})
MOST: Final = 1e15  # of tokens or dollars; whoever says more does not count them

LLM_ATTRIBUTE = "llm"
FAILURE_ATTRIBUTE = "failure"
SURPLUS = "Surplus"
"""The type of failure of a trial that its study's total has no place for."""

INTERRUPTED = "Interrupted"
"""That of a trial which a signal ended, or the cancellation of its run."""

RUN_DIED = "RunDied"
"""That of a trial whose process died."""

LATE_ATTRIBUTE = "late_result_of"
"""User attribute of a trial that holds the result of one whose process was thought dead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proposal:
    """One complete configuration before it becomes a trial.

    `params` are values that Optuna accepts as they are, for every name in `distributions`; `repairs` says what had to
    be changed in the model's reply to make them so; `provenance` is the JSON object that the trial keeps as its user
    attribute `llm`. `new`: when it was accepted, the study had no such configuration.
    """

    params: Params
    distributions: SearchSpace
    repairs: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seen: int = 0
    new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """This process is number `place`, from 0, of the `processes` that work on one study."""

    place: int = 0
    processes: int = 1


ALONE = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What asking took: requests, tokens (prompt and completion) and US dollars."""

    requests: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Charge") -> "Charge":
        return Charge(
            requests=self.requests + other.requests, tokens=self.tokens + other.tokens, usd=self.usd + other.usd
        )

    def __sub__(self, other: "Charge") -> "Charge":
        return Charge(
            requests=self.requests - other.requests, tokens=self.tokens - other.tokens, usd=self.usd - other.usd
        )

    def __str__(self) -> str:
        return f"${self.usd:.4f}, {self.tokens} tokens, {self.requests} requests"


def charge_of(provenance: Mapping[str, Any]) -> Charge:
    """What the attribute `llm` says that its proposal took; what is unknown counts as nothing."""
    usage = as_mapping(provenance.get("usage"))
    return Charge(
        requests=as_count(provenance.get("calls")),
        tokens=as_count(usage.get("prompt_tokens")) + as_count(usage.get("completion_tokens")),
        usd=as_amount(usage.get("cost")) or 0.0,
    )


# -- what a record holds that others may have written


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; what is none is empty."""
    return value if isinstance(value, Mapping) else EMPTY


def as_list(value: Any) -> Sequence[Any]:
    """A JSON array; what is none is empty."""
    return value if isinstance(value, list | tuple) else ()


def as_amount(value: Any) -> float | None:
    """A number that something can have taken; None for what is no such number."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST
    return float(value) if usable else None


def as_count(value: Any) -> int:
    """A whole number of things; what is no number is nothing."""
    return int(as_amount(value) or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: the trial keeps it as its user attribute `failure`."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one objective call came to. `error` is the exception that a failed trial's objective raised, if any."""

    state: TrialState
    value: float | None = None
    failure: Failure | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One objective call to run: the trial it is for, and the door for the trial's storage calls."""

    objective: Objective
    trial: Trial
    lane: JobThread
