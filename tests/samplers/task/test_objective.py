"""An objective is described by its name, its docstring and its source."""

import functools
from typing import Any

import pytest

from optuna_llm import describe
from optuna_llm.samplers.task.objective import MAX_DOCSTRING, MAX_SOURCE
from optuna_llm.samplers.task.parts import CUT


def accuracy(trial: Any, rows: Any = None, epochs: int = 3, api_key: str = "") -> float:
    """Accuracy of a classifier after some epochs."""
    return float(trial.suggest_float("lr", 1e-5, 1e-1, log=True))


async def loss(trial: Any) -> float:
    return float(trial.suggest_float("x", 0, 1))


class Training:
    """Trains a network."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __call__(self, trial: Any) -> float:
        """Give the loss."""
        return 0.5

    def score(self, trial: Any) -> float:
        return 0.25


def typed_in(source: str, name: str) -> Any:
    """What has no source, as in a session of Python."""
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec(source, names)
    return names[name]


def test_a_function_is_shown_with_its_source_once() -> None:
    text = describe(accuracy)
    assert text.startswith("The objective is `accuracy`, in Python:\n```python\ndef accuracy(")
    assert text.count("Accuracy of a classifier") == 1
    assert text.endswith("log=True))\n```")


def test_an_async_function_is_shown() -> None:
    assert "async def loss(trial: Any)" in describe(loss)


def test_nested_source_is_not_indented() -> None:
    def inner(trial: Any) -> float:
        return 1.0

    text = describe(inner)
    assert "`inner`" in text
    assert "\ndef inner(trial" in text


def test_a_decorated_function_is_shown_as_it_was_written() -> None:
    @functools.wraps(accuracy)
    def wrapper(*arguments: Any) -> float:
        return accuracy(*arguments)

    assert describe(wrapper) == describe(accuracy)


def test_a_method_is_shown_alone() -> None:
    text = describe(Training(None).score)
    assert "`Training.score`" in text
    assert "0.25" in text
    assert "0.5" not in text


def test_an_object_that_can_be_called_is_shown_as_its_class() -> None:
    assert describe(Training([1, 2])) == describe(Training)
    assert '"""Trains a network."""' in describe(Training)


def test_of_an_object_with_a_long_class_the_call_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna_llm.samplers.task.objective.MAX_SOURCE", 200)
    text = describe(Training(None))
    assert "def __call__" in text
    assert "def score" not in text
    assert "Trains a network." in text


def test_a_partial_says_what_is_bound_and_no_data() -> None:
    text = describe(functools.partial(functools.partial(accuracy, rows=[[7.5]]), epochs=20, api_key="hunter2"))
    assert text.endswith("Already bound: rows=<list>, epochs=20, api_key=[removed].")


def test_positional_arguments_of_a_partial_have_their_names() -> None:
    text = describe(functools.partial(accuracy, None, [1], 5, "hunter2"))
    assert text.endswith("Already bound: trial=None, rows=<list>, epochs=5, api_key=[removed].")


def test_a_lambda_is_shown_with_its_line() -> None:
    assert "lambda trial: 0.125" in describe(lambda trial: 0.125)


def test_without_source_there_are_name_parameters_and_docstring() -> None:
    function = typed_in("def f(trial, data=[7.5]):\n    'Gives a loss; see /home/anna/x.'", "f")
    assert describe(function) == "The objective is `f(trial, data)`.\nGives a loss; see <path>"


def test_a_class_without_source_or_docstring_has_a_name() -> None:
    kind = typed_in("class K:\n    def __call__(self, trial): return 1", "K")
    assert describe(kind()) == "The objective is `K(trial)`."


@pytest.mark.parametrize("builtin", [len, dict, max, print, [].append])
def test_a_builtin_is_described(builtin: Any) -> None:
    assert describe(builtin).startswith("The objective is `")
    assert len(describe(builtin)) < MAX_DOCSTRING + 200


def test_long_source_is_cut_at_a_line_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f(trial):\n" + "    x = 1\n" * 1000
    monkeypatch.setattr("inspect.getsource", lambda _: source)
    text = describe(accuracy)
    assert text.count("    x = 1\n") > 200
    assert f"    x = 1\n{CUT}\n```" in text
    assert len(text) < MAX_SOURCE + 200


def test_source_cannot_end_its_own_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect.getsource", lambda _: 'x = """\n```\n"""\n')
    assert describe(loss).endswith('\n````python\nx = """\n```\n"""\n````')
