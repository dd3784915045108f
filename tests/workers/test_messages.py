"""How exceptions travel between processes: every one arrives as what `catch` knows it by."""

import copyreg
import threading
from typing import Any

import pytest

from optuna_llm.workers.messages import loaded_error, pickled_error

can_be_loaded = threading.Event()


class NotHereError(ValueError):
    """An exception that can be loaded in some processes only, like a class of a module that is not installed here."""

    def __reduce__(self) -> Any:
        return _not_here, self.args


def _not_here(*args: Any) -> NotHereError:
    if not can_be_loaded.is_set():
        raise ModuleNotFoundError("no module of this kind here")
    return NotHereError(*args)


class MuteError(ValueError):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class OddError(MuteError):
    """An exception with a constructor of its own."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


def in_a_circle() -> ValueError:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__context__ = second, first
    return first


def with_itself() -> ValueError:
    error = ValueError()
    error.args = (error,)
    return error


def with_what_is_not_here() -> ValueError:
    error = ValueError("it has a cause")
    error.cause = NotHereError("x")  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "error",
    [
        in_a_circle(),
        with_itself(),
        ValueError("x" * 3_000_000),
        ValueError(threading.Lock()),
        MuteError(),
        OddError(code=3),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
    ],
    ids=["circle", "itself", "long", "lock", "mute", "odd", "decode"],
)
def test_any_exception_arrives_as_one_of_its_kind(error: ValueError) -> None:
    assert isinstance(loaded_error(pickled_error(error)), ValueError)


@pytest.mark.parametrize("error", [NotHereError("gone"), with_what_is_not_here()])
def test_one_that_cannot_be_loaded_here_arrives_as_the_nearest(error: ValueError) -> None:
    can_be_loaded.set()
    pickled = pickled_error(error)
    can_be_loaded.clear()
    arrived = loaded_error(pickled)
    assert type(arrived) is ValueError
    assert str(arrived) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        KeyboardInterrupt(),
        SystemExit(3),
        ExceptionGroup("two", [OSError(2, "no file")]),
    ],
)
def test_exceptions_of_pythons_own_arrive_as_they_are(error: BaseException) -> None:
    assert repr(loaded_error(pickled_error(error))) == repr(error)


def test_an_exit_code_arrives_although_pickling_was_changed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(error: SystemExit) -> Any:
        return SystemExit.__new__, (SystemExit, *error.args)

    monkeypatch.setitem(copyreg.dispatch_table, SystemExit, bare)
    arrived = loaded_error(pickled_error(SystemExit(3)))
    assert isinstance(arrived, SystemExit)
    assert arrived.code == 3


def test_nothing_arrives_as_nothing() -> None:
    assert loaded_error(()) is None
