"""What a call of `optimize_async` asked for, checked before anything runs."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna import Study
from optuna.trial import FrozenTrial

from ..arguments import function, number
from ..errors import UsageError
from ..protocols import Workers
from ..records import Objective
from .schedule import RunPlan

Callback: TypeAlias = Callable[[Study, FrozenTrial], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run; see `optimize_async` for what each means. Times are in seconds."""

    objective: Objective
    plan: RunPlan
    total_trials: int | None
    timeout: float | None
    trial_timeout: float | None
    catch: tuple[type[BaseException], ...]
    callbacks: Sequence[Callback]
    retries: int
    grace: float
    handle_signals: bool
    show_progress_bar: bool

    def __post_init__(self) -> None:
        function("objective", self.objective)
        number("total_trials", self.total_trials, whole=True, optional=True)
        number("timeout", self.timeout, positive=True, optional=True, unit=" of seconds")
        number("trial_timeout", self.trial_timeout, positive=True, optional=True, unit=" of seconds")
        number("retries", self.retries, whole=True)
        number("grace", self.grace, unit=" of seconds")


def wants_signals(value: bool | None) -> bool:
    """Whether to handle signals: None means where it can be done, True that it must be."""
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"handle_signals must be True, False or None, not {value!r}")
    if value and threading.current_thread() is not threading.main_thread():
        raise UsageError("handle_signals=True works in the main thread only: Python delivers signals to no other")
    return value is not False


def require_workers(value: Workers) -> Workers:
    """An object with `slots` and `run`; the class itself is a common slip."""
    if isinstance(value, type) or not isinstance(value, Workers):
        raise UsageError(f"workers must be an object such as CoroutineWorkers() or ThreadWorkers(), not {value!r}")
    return value
