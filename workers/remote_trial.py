"""A trial whose study is in another process: Optuna's interface, a message a call."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalChoiceType
from optuna.study import StudyDirection
from optuna.trial import BaseTrial

from .thread import Cancelled

# What a worker process may ask of a trial. Everything else of the study stays where the run is: samplers hold keys.
METHODS: Final = frozenset(
    {
        "suggest_float",
        "suggest_int",
        "suggest_categorical",
        "report",
        "should_prune",
        "set_user_attr",
        "set_constraint",
        "stop",
    }
)
ATTRIBUTES: Final = frozenset(
    {"params", "distributions", "user_attrs", "constraints", "datetime_start", "relative_params"}
)

Ask = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RemoteStudy:
    """The little of a study that pruning callbacks look at, and `stop`."""

    study_name: str
    direction: StudyDirection
    _ask: Ask

    @property
    def directions(self) -> list[StudyDirection]:
        """The directions, as multi-objective code asks for them."""
        return [self.direction]

    def stop(self) -> None:
        """End the run after the running trials."""
        self._ask("stop")


class RemoteTrial(BaseTrial):
    """One trial of a plain objective in another process, with the interface of `optuna.Trial`.

    Suggestions, reports and the pruner's answers come from the one study that the run has, on whatever storage. `ask`
    sends a call and returns its value, or raises what it raised.
    """

    def __init__(self, number: int, study_name: str, direction: StudyDirection, ask: Ask) -> None:
        self._number = number
        self._ask = ask
        self.study = RemoteStudy(study_name, direction, ask)
        self.cancelled = Cancelled()  # never set: the process of a cancelled trial is killed

    def __repr__(self) -> str:
        return f"RemoteTrial(number={self._number})"

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The proposed value of a float parameter; see `optuna.Trial.suggest_float`."""
        value: float = self._ask("suggest_float", name, low, high, step=step, log=log)
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The proposed value of an integer parameter; see `optuna.Trial.suggest_int`."""
        value: int = self._ask("suggest_int", name, low, high, step=step, log=log)
        return value

    def suggest_categorical(self, name: str, choices: Sequence[CategoricalChoiceType]) -> CategoricalChoiceType:  # type: ignore[override]
        """The proposed one of `choices`; see `optuna.Trial.suggest_categorical`."""
        chosen: CategoricalChoiceType = self._ask("suggest_categorical", name, choices)
        return chosen

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """See `suggest_float`."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """See `suggest_float`."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """See `suggest_float`."""
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        """Store an intermediate value; see `optuna.Trial.report`."""
        with suppress(TypeError, ValueError):  # a tensor of a GPU has no business there; the rest is Optuna's to refuse
            value = float(value)
        self._ask("report", value, step)

    def should_prune(self) -> bool:
        """Ask the study's pruner; see `optuna.Trial.should_prune`."""
        return bool(self._ask("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store a user attribute; see `optuna.Trial.set_user_attr`."""
        self._ask("set_user_attr", key, value)

    def set_constraint(self, *args: Any, **kwargs: Any) -> None:
        """Store a constraint's value; see `optuna.Trial.set_constraint`."""
        self._ask("set_constraint", *args, **kwargs)

    @property
    def number(self) -> int:
        """The trial's number in its study, from 0."""
        return self._number

    @property
    def params(self) -> dict[str, Any]:
        """The values suggested so far; all values if `optimize_async` was given the search space."""
        return dict(self._read("params"))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions of `params`."""
        return dict(self._read("distributions"))

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The user attributes written so far."""
        return dict(self._read("user_attrs"))

    @property
    def constraints(self) -> Any:
        """The constraints' values set so far."""
        return self._read("constraints")

    @property
    def relative_params(self) -> Mapping[str, Any]:
        """The proposed values, before they are suggested."""
        return dict(self._read("relative_params"))

    @property
    def datetime_start(self) -> datetime | None:
        """When the trial began."""
        start: datetime | None = self._read("datetime_start")
        return start

    def _read(self, name: str) -> Any:
        return self._ask(name, read=True)
