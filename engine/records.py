"""The records that travel between the rooms: a proposal before it is a trial, and what asking for it took."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from optuna import Trial
from optuna.distributions import BaseDistribution

from .logs import counted
from .study.patience import Patience
from .threads import JobThread

Objective: TypeAlias = Callable[[Any], float | None] | Callable[[Any], Awaitable[float | None]]
"""What is optimized: `def f(trial) -> float`, or `async def f(trial: AsyncTrial) -> float`."""
Params: TypeAlias = Mapping[str, Any]
SearchSpace: TypeAlias = Mapping[str, BaseDistribution]

EMPTY: Mapping[Any, Any] = MappingProxyType({})

LEAST_OF_FOUR_DIGITS: Final = 1e-3  # US dollars: four digits after the point say nothing of fewer


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
class Signature:
    """Whose a trial is: a run's, and which of its workers runs it, from 0; None where no worker of a run does."""

    run: str
    worker: int | None = None


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

    def __sub__(self, other: "Charge") -> "Charge":
        return self + Charge(requests=-other.requests, tokens=-other.tokens, usd=-other.usd)

    def __str__(self) -> str:
        usd = f"{self.usd:.4f}" if self.usd >= LEAST_OF_FOUR_DIGITS or not self.usd else f"{self.usd:.2g}"
        return f"${usd}, {counted(self.tokens, 'token')}, {counted(self.requests, 'request')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One objective call to run: the trial it is for, the thread for its storage calls, and how these are tried.

    `started` is called when the objective begins, if that is later than the call: a timeout counts from then.
    `interrupted` says whether a signal ended the run, when the call is cancelled.
    """

    objective: Objective
    trial: Trial
    lane: JobThread
    patience: Patience
    started: Callable[[], None] = lambda: None
    interrupted: Callable[[], bool] = lambda: False
