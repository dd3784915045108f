"""What an objective returns or raises is judged as `Study.optimize` judges it, and whatever it is, it is on record."""

import collections
import functools
from collections.abc import Callable
from typing import Any

import anyio
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from support import SPACE, sampler

from optuna_llm import AsyncTrial, optimize_async
from optuna_llm.engine.outcome import completed, failed


class Raising:
    """Raises whatever it is asked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __float__(self) -> float:
        raise self._error

    def __repr__(self) -> str:
        raise self._error


class Unspeakable(Exception):
    """Has a text that cannot be had."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self._error = error

    def __str__(self) -> str:
        raise self._error

    __repr__ = __str__


@pytest.mark.parametrize(
    "value", [2.0, (2.0,), [2], collections.deque([2.0]), range(2, 3), (np.float32(2),), [True + 1], np.array(2.0)]
)
def test_a_sequence_of_one_number_is_that_number_as_in_optuna(value: Any) -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: value, n_trials=1)
    outcome = completed(value)
    assert (outcome.state, outcome.value) == (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, 2)


@pytest.mark.parametrize("value", [(), (1.0, 2.0), [[1.0]], ("a",), (None,), {"value": 1.0}, (float("nan"),)])
def test_other_sequences_fail_as_in_optuna(value: Any) -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: value, n_trials=1)
    outcome = completed(value)
    assert outcome.state is study.trials[0].state is TrialState.FAIL
    assert outcome.error is None  # so that the run goes on, as `Study.optimize` does
    assert outcome.failure is not None
    assert outcome.failure.message.startswith("the objective returned ")


@pytest.mark.parametrize(
    "value", [10**400, Raising(RuntimeError("no")), [Raising(KeyError(1))], [Raising(OSError())] * 2]
)
def test_what_raises_when_it_is_asked_for_a_number_or_a_text_fails_the_trial(value: Any) -> None:
    outcome = completed(value)
    assert outcome.state is TrialState.FAIL
    assert outcome.failure is not None
    assert "is not a number" in outcome.failure.message


@pytest.mark.parametrize("make", [lambda e: e, lambda e: ExceptionGroup("two", [e, ValueError("2")])])
@pytest.mark.parametrize("inner", [ValueError("x"), RecursionError(), UnicodeError("odd")])
def test_an_exception_without_a_text_is_on_record_by_its_type(
    inner: Exception, make: Callable[[Exception], Exception]
) -> None:
    error = make(Unspeakable(inner))
    outcome = failed(error)
    assert outcome.error is error
    assert outcome.failure is not None
    assert outcome.failure.type == type(error).__name__
    if isinstance(error, Unspeakable):
        assert outcome.failure.message == f"<Unspeakable, whose text raises {type(inner).__name__}>"


@pytest.mark.parametrize("catch", [(), Unspeakable])
@pytest.mark.parametrize("place", ["thread", "coroutine", "callback", "model"])
def test_a_run_tells_every_trial_although_an_exception_has_no_text(place: str, catch: Any) -> None:
    def fail(*_: Any) -> float:
        raise unspeakable

    async def coroutine(trial: AsyncTrial) -> float:
        return fail()

    class WithoutText(Unspeakable):
        __repr__ = Exception.__repr__  # asyncio itself writes that of a task's exception

    unspeakable = WithoutText(ValueError("x"))
    objectives: dict[str, Any] = {"thread": fail, "coroutine": coroutine}
    study = optuna.create_study(sampler=sampler(fail if place == "model" else None))
    run = functools.partial(optimize_async, study, objectives.get(place, lambda trial: 1.0), n_trials=3, catch=catch)
    run = functools.partial(run, search_space=SPACE, callbacks=[fail] if place == "callback" else [])
    if catch and place in objectives:
        assert anyio.run(run).n_failed == 3
    else:
        with pytest.raises(Unspeakable):
            anyio.run(run)
    expected = {"callback": TrialState.COMPLETE, **dict.fromkeys(objectives, TrialState.FAIL)}
    assert {trial.state for trial in study.trials} == ({expected[place]} if place in expected else set())
