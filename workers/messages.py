"""What a worker process and the process of the run tell each other: pickled records over a pair of sockets."""

import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import cloudpickle
from optuna.study import StudyDirection

from ..engine.foreign_text import text_of

# Of an exception's text, when one of a base class takes its place: more than a failure keeps of it.
MAX_TEXT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """To the worker: load the objective of the tasks to come, which is pickled.

    `path` is where its modules are looked for, in this order; `argv` are the arguments of the run's own process.
    """

    objective: bytes
    path: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """To the worker: run the objective for a trial, in the working directory `folder` (None: where it is)."""

    number: int
    study_name: str
    direction: StudyDirection
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """To the run: the worker has started, or has loaded an objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCall:
    """To the run: call a method of the trial, or read an attribute (`args` is None)."""

    name: str
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To the worker: what a call came to, a value or what it raised (see `pickled_error`)."""

    value: Any = None
    error: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """To the run: the objective's end, a pickled outcome but for its exception; `error` is that."""

    outcome: bytes
    error: tuple[bytes, ...] = ()


def loaded_call(pickled: bytes) -> TrialCall | Exception:
    """A call; the exception if it cannot be understood here, as with a value of a class that is not known."""
    try:
        call: TrialCall = pickle.loads(pickled)
    except Exception as error:
        return error
    return call


def pickled_error(error: BaseException) -> tuple[bytes, ...]:
    """An exception in pickles of which the first that can be loaded is meant.

    As it is, then as one of its base classes with its text, so that `catch` knows it where its class is not known. The
    last one is of a class of Python's own.
    """
    ways = list(_pickle_of(error, type(error)))
    for kind in type(error).__mro__[:-1]:
        with suppress(Exception):  # its constructor wants other arguments
            ways += _pickle_of(kind(text_of(error)[:MAX_TEXT]), kind)
            if kind.__module__ == "builtins":
                break
    return tuple(ways)


def _pickle_of(error: BaseException, kind: type) -> tuple[bytes, ...]:
    """An exception's pickle, if there is one that can be loaded."""
    with suppress(Exception):
        pickled = bytes(cloudpickle.dumps(error))
        if isinstance(pickle.loads(pickled), kind):
            return (pickled,)
    return ()


def loaded_error(ways: tuple[bytes, ...]) -> BaseException | None:
    """The exception that `pickled_error` pickled, or the nearest that can be loaded here; None if there was none."""
    for pickled in ways:
        with suppress(Exception):
            error: BaseException = pickle.loads(pickled)
            if isinstance(error, SystemExit) and error.code is None:
                error.code = next(iter(error.args), None)  # tblib, which Dask installs, makes exceptions without theirs
            return error
    return None
