"""`describe`, and what `LLMGuidedSampler(task=)` makes of it."""

import doctest
import importlib
import pickle
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from support import SchemaModel, sampler

from optuna_llm import LLMGuidedSampler, UsageError, describe
from optuna_llm.samplers.prompt.messages import MAX_TASK

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


def loss(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def head(task: Any) -> str:
    """What the system message says of the task."""
    model = SchemaModel()
    optuna.create_study(sampler=sampler(model, task=task, search_space=SPACE)).ask(SPACE)
    return model.requests[0].messages[0]["content"].split("# Task\n")[1].split("\nGoal: ")[0]


def test_the_example_of_the_docstring_is_so() -> None:
    tried = doctest.testmod(importlib.import_module("optuna_llm.samplers.task.description"))
    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize("thing", [None, 3, 2.5, "train.csv", b"x", {"a": [1]}, {1, 2}, object()])
def test_what_cannot_be_described_is_refused_with_what_can(thing: Any) -> None:
    with pytest.raises(UsageError, match=rf"an objective .* or data .*; not a {type(thing).__name__}"):
        describe(thing)


def test_an_objective_has_no_target() -> None:
    with pytest.raises(UsageError, match="an objective has none"):
        describe(loss, [1, 2])


def test_a_task_of_several_parts_is_joined() -> None:
    parts = ["Tune a net.", describe(loss), describe([[1.0], [2.0]], [0.5, 1.0])]
    assert head(parts) == "\n\n".join(parts)


def test_no_part_of_a_task_is_lost_to_a_longer_one() -> None:
    task = head(["Tune a net.", "long " * 2000, "The metric is its loss."])
    assert task.startswith("Tune a net.\n\nlong ")
    assert task.endswith("\n\nThe metric is its loss.")
    assert len(task) <= MAX_TASK


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (3, "task must be a string or a list of strings, not a int"),
        (None, "task must be a string or a list of strings, not a NoneType"),
        (loss, "task must be .* not a function: optuna_llm.describe"),
        (["a", loss], r"task\[1\] must be a string, not a function: optuna_llm.describe"),
        (["a", None], r"task\[1\] must be a string, not a NoneType"),
    ],
)
def test_a_task_that_is_no_text_is_refused(task: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        sampler(SchemaModel(), task=task)


def test_a_sampler_with_several_parts_pickles_and_shows_the_first() -> None:
    original = LLMGuidedSampler("openai/gpt-5-mini", task=("Tune a net.", "The metric is its loss."))
    assert repr(pickle.loads(pickle.dumps(original))) == repr(original)
    assert "'Tune a net." in repr(original)


def test_a_list_that_changes_later_changes_no_prompt() -> None:
    parts = ["Tune a net."]
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, task=parts, search_space=SPACE))
    parts.append("Or not.")
    study.ask(SPACE)
    assert "Or not." not in model.requests[0].messages[0]["content"]
