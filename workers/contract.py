"""What every kind of workers must do, as functions that assert it: for ours, and for one of your own.

Each of `CHECKS` takes workers, runs small studies on them and on threads, and raises `AssertionError` where the two
differ. They need no test framework and no model::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyWorkers())
"""

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
from optuna import Study, TrialPruned, create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import NopPruner, ThresholdPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from ..engine import Optimizer, Outcome, UsageError, WorkerError, Workers
from ..engine.protocols import WorkerCapabilities, capabilities_of
from .coroutine import default_workers
from .thread import ThreadWorkers

# An objective that may be awaited or not: it yields what it calls, and is sent what that came to.
Steps = Callable[[Any], Generator[Any, Any, Any]]
Check = Callable[[Workers], None]

SPACE: Final[Mapping[str, BaseDistribution]] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "layers": IntDistribution(1, 9, step=2),
    "kind": CategoricalDistribution(("linear", None, True)),
}
TIMEOUT: Final = 1.0  # seconds
HANG: Final = 2.5  # seconds: it ends by itself where nobody can end it

_optimize = Optimizer(default_workers).optimize_async


class GoneError(ConnectionError):
    """What one of the objectives raises."""


def the_same_study(workers: Workers) -> None:
    """Parameters, values, states, attributes, constraints, reports and failures are those of a study on threads."""
    here, there = (_run(place, _everything, n_trials=8, catch=ConnectionError) for place in (ThreadWorkers(), workers))
    _equal(told(there), told(here))
    _equal([trial.state for trial in there.trials], [*_STATES, *[TrialState.COMPLETE] * 4])


def trials_side_by_side(workers: Workers) -> None:
    """Each of several trials at once gets its own parameters and result."""
    study = _run(workers, _layers, n_trials=8, n_workers=4)
    _equal([trial.value for trial in study.trials], [float(trial.params["layers"]) for trial in study.trials])


def several_runs(workers: Workers) -> None:
    """The same workers serve one run after the other, each with its own objective."""
    _equal([trial.value for trial in _run(workers, _layers, n_trials=1).trials], [_first("layers")])
    _equal([trial.value for trial in _run(workers, _rate, n_trials=1).trials], [_first("rate")])


def the_pruner(workers: Workers) -> None:
    """`should_prune()` answers for what was reported just before; without streams it is False."""
    streams = capabilities_of(workers).streams
    study = _run(workers, _prunable, n_trials=3, pruner=ThresholdPruner(upper=2.5))
    pruned = TrialState.PRUNED if streams else TrialState.COMPLETE
    _equal([trial.state for trial in study.trials], [TrialState.COMPLETE, pruned, pruned])
    reports = [list(trial.intermediate_values.values()) for trial in study.trials]
    _equal(reports, [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0] if streams else [2.0, 3.0, 4.0]])


def stop(workers: Workers) -> None:
    """`trial.study.stop()` ends the run after the trials that run."""
    _equal(len(_run(workers, _stops, n_trials=9).trials), 1)


def an_error_that_is_not_caught(workers: Workers) -> None:
    """It ends the run as itself, and its trial says what it was."""
    study = _study()
    error = _raised(workers, _raises, study, n_trials=9)
    _equal((type(error), str(error)), (GoneError, "the node is gone"))
    _equal([trial.user_attrs["failure"]["type"] for trial in study.trials], ["GoneError"])


def a_name_outside_the_space(workers: Workers) -> None:
    """It fails its trial and ends the run with `UsageError`, although the objective catches it."""
    study = _study()
    error = _raised(workers, _misspells, study, n_trials=9, catch=Exception)
    _equal((isinstance(error, UsageError), "'layer'" in str(error)), (True, True))
    _equal([trial.state for trial in study.trials], [TrialState.FAIL])


def a_timeout(workers: Workers) -> None:
    """It fails its trial and never the run; the next trial of the slot is evaluated in full."""
    study = _run(workers, _hangs_once, n_trials=2, trial_timeout=TIMEOUT)
    _equal([trial.state for trial in study.trials], [TrialState.FAIL, TrialState.COMPLETE])
    _equal(study.trials[0].user_attrs["failure"]["type"], "TimeoutError")


def a_run_that_is_cancelled(workers: Workers) -> None:
    """No trial of it stays RUNNING, and the workers serve the next run."""
    study = _study()

    async def cancelled() -> None:
        async with anyio.create_task_group() as group:
            began = anyio.Event()
            group.start_soon(_cancel_when, began, group.cancel_scope)
            spied = _Spied(workers, began)
            await _optimize(study, _objective(workers, _hangs_once), n_trials=1, search_space=SPACE, workers=spied)

    anyio.run(cancelled)
    _equal([trial.state for trial in study.trials], [TrialState.FAIL])
    _equal([trial.state for trial in _run(workers, _layers, n_trials=1).trials], [TrialState.COMPLETE])


def an_objective_that_is_no_number(workers: Workers) -> None:
    """What is no number fails its trial, in the words that it gets everywhere."""
    here, there = (_run(place, _no_number, n_trials=2) for place in (ThreadWorkers(), workers))
    _equal(told(there), told(here))
    _equal([trial.state for trial in there.trials], [TrialState.FAIL] * 2)


CHECKS: Final[Sequence[Check]] = (
    the_same_study,
    trials_side_by_side,
    several_runs,
    the_pruner,
    stop,
    an_error_that_is_not_caught,
    a_name_outside_the_space,
    an_objective_that_is_no_number,
    a_timeout,
    a_run_that_is_cancelled,
)


def told(study: Study) -> list[dict[str, Any]]:
    """What a study holds of its trials, but for times and tracebacks."""
    return [
        {
            "state": trial.state.name,
            "params": trial.params,
            "value": trial.value,
            "reports": trial.intermediate_values,
            "constraints": trial.constraints,
            "attributes": {name: value for name, value in trial.user_attrs.items() if name != "failure"},
            "failure": [trial.user_attrs.get("failure", {}).get(part) for part in ("type", "message")],
        }
        for trial in study.trials
    ]


# -- objectives


_STATES: Final = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL)


def _everything(trial: Any) -> Generator[Any, Any, Any]:
    layers = trial.suggest_int("layers", 1, 9, step=2)
    kind = trial.suggest_categorical("kind", ("linear", None, True))
    yield trial.set_user_attr("seen", {"layers": layers, "kind": kind, "number": trial.number})
    for step in range(3):
        yield trial.report(trial.params["rate"] + step, step)
    yield trial.set_constraint("memory", layers - 5.0)
    _equal(trial.user_attrs["seen"]["layers"], layers)
    _equal(trial.suggest_int("layers", 1, 9, step=2), layers)
    if trial.number == 1:
        raise GoneError("the node is gone")
    if trial.number == 2:
        raise TrialPruned("worse than the last")
    return None if trial.number == 3 else layers * trial.suggest_float("rate", 1e-4, 1.0, log=True)


def _layers(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    return trial.suggest_int("layers", 1, 9, step=2)


def _rate(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    return trial.suggest_float("rate", 1e-4, 1.0, log=True)


def _prunable(trial: Any) -> Generator[Any, Any, Any]:
    for step in range(3):
        yield trial.report(float(trial.number + step), step)
        if (yield trial.should_prune()):
            raise TrialPruned
    return 1.0


def _stops(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    trial.study.stop()
    return 1.0


def _raises(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    raise GoneError("the node is gone")


def _misspells(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    try:
        return trial.suggest_int("layer", 1, 9)
    except ValueError:
        return 0.0


def _hangs_once(trial: Any) -> Generator[Any, Any, Any]:
    if trial.number == 0:
        yield _Pause(HANG)
    return 1.0


def _no_number(trial: Any) -> Generator[Any, Any, Any]:
    yield trial.report(0.0, 0)
    return "three" if trial.number else float("nan")


# -- how they run


@dataclass(frozen=True, slots=True)
class _Pause:
    """A step that takes so many seconds."""

    seconds: float


def _plain(steps: Steps, trial: Any) -> Any:
    """Run the steps as a plain objective."""
    running, sent = steps(trial), None
    try:
        while True:
            sent = running.send(sent)
            if isinstance(sent, _Pause):
                time.sleep(sent.seconds)
    except StopIteration as end:
        return end.value


def _awaiting(steps: Steps) -> Callable[[Any], Awaitable[Any]]:
    """An `async def` objective of the steps."""

    async def objective(trial: Any) -> Any:
        running, sent = steps(trial), None
        try:
            while True:
                yielded = running.send(sent)
                yielded = anyio.sleep(yielded.seconds) if isinstance(yielded, _Pause) else yielded
                sent = await yielded if inspect.isawaitable(yielded) else yielded
        except StopIteration as end:
            return end.value

    return objective


def _objective(workers: Workers, steps: Steps) -> Any:
    return _awaiting(steps) if capabilities_of(workers).awaits else functools.partial(_plain, steps)


def _study(pruner: Any = None) -> Study:
    return create_study(sampler=RandomSampler(seed=3), pruner=pruner or NopPruner())


def _run(
    workers: Workers,
    steps: Steps,
    *,
    study: Study | None = None,
    pruner: Any = None,
    n_workers: int = 1,
    **options: Any,
) -> Study:
    study = study or _study(pruner)
    options |= {"search_space": SPACE, "workers": workers, "n_workers": n_workers}
    anyio.run(functools.partial(_optimize, study, _objective(workers, steps), **options))
    return study


def _raised(workers: Workers, steps: Steps, study: Study, **options: Any) -> BaseException:
    try:
        _run(workers, steps, study=study, **options)
    except WorkerError as error:
        raise AssertionError("the place failed, and not the objective") from error
    except Exception as error:
        return error
    raise AssertionError("the run was expected to raise")


def _first(name: str) -> float:
    """The first value that the seed gives to a parameter."""
    return float(_study().ask(dict(SPACE)).params[name])


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class _Spied:
    """Workers that say when a trial is on its way to them."""

    def __init__(self, workers: Workers, began: anyio.Event) -> None:
        self.slots = workers.slots
        self.capabilities: WorkerCapabilities = capabilities_of(workers)
        self._workers = workers
        self._began = began

    async def run(self, call: Any) -> Outcome:
        self._began.set()
        return await self._workers.run(call)


def _equal(found: Any, expected: Any) -> None:
    if found != expected:  # Python may be told to leave `assert` out
        raise AssertionError(f"{found!r} is not {expected!r}")
