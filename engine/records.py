"""The records that travel between the rooms: a proposal before it is a trial, and what asking for it took."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from optuna import Trial
from optuna.distributions import BaseDistribution

from .threads import JobThread

# What is optimized: `def f(trial) -> float`, or `async def f(trial: AsyncTrial) -> float`.
Objective: TypeAlias = Callable[[Any], float | None] | Callable[[Any], Awaitable[float | None]]
Params: TypeAlias = Mapping[str, Any]
SearchSpace: TypeAlias = Mapping[str, BaseDistribution]

EMPTY: Mapping[Any, Any] = MappingProxyType({})

# No study spends so many tokens or dollars: a larger amount is somebody's mistake, and one sum with it would be wrong
# for ever.
MAX_AMOUNT: Final = 1e15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proposal:
    """One complete configuration before it becomes a trial.

    `params` are values that Optuna accepts as they are, for every name in `distributions`; `repairs` says what had to
    be changed in the model's reply to make them so; `provenance` is the JSON object that the trial keeps as its user
    attribute `llm`. `seen` trials were finished when the prompt was written. `new`: when the proposal was accepted, the
    study had no such configuration.
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
        requests, tokens, usd = self.requests + other.requests, self.tokens + other.tokens, self.usd + other.usd
        return Charge(requests=requests, tokens=tokens, usd=usd)

    def __neg__(self) -> "Charge":
        return Charge(requests=-self.requests, tokens=-self.tokens, usd=-self.usd)

    def __sub__(self, other: "Charge") -> "Charge":
        return self + -other

    def __str__(self) -> str:
        return f"${self.usd:.4f}, {self.tokens} tokens, {self.requests} requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One objective call to run: the trial it is for, and the thread for the trial's storage calls."""

    objective: Objective
    trial: Trial
    lane: JobThread


# -- reading JSON that others may have written


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The JSON object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else EMPTY


def as_list(value: Any) -> Sequence[Any]:
    """The JSON array, or an empty one for anything else."""
    return value if isinstance(value, list | tuple) else ()


def as_amount(value: Any) -> float | None:
    """The number if something can have taken that much, else None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_AMOUNT
    return float(value) if usable else None


def as_count(value: Any) -> int:
    """The whole number of things, 0 for what is no number."""
    return int(as_amount(value) or 0)
