"""What is tuned: a task with its space, its words, its evaluation and the two values that regret is measured by."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Direction = Literal["minimize", "maximize"]
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What evaluating a configuration gave: the metric, and the seconds that it takes in earnest."""

    value: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What regret is measured by: the best value (known, or best found) and the median of random configurations."""

    best: float
    median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to tune. `text` says what it is, `parameters` what each parameter means, in one line.

    `evaluate` is a function of the configuration alone: the same one always gives the same value. `encode` makes of a
    configuration of the original task the one of this view of it.
    """

    name: str
    suite: str
    space: Mapping[str, BaseDistribution]
    direction: Direction
    evaluate: Callable[[Params], Evaluation] = field(repr=False)
    text: str
    parameters: Mapping[str, str]
    reference: Reference
    encode: Callable[[Params], dict[str, Any]] = field(default=dict, repr=False)


def anonymised(task: Task) -> Task:
    """The same task without its words: no text, no meanings, and parameters named x1, x2, ..."""
    names = {f"x{number}": name for number, name in enumerate(task.space, start=1)}

    def evaluate(params: Params) -> Evaluation:
        return task.evaluate({names[name]: value for name, value in params.items()})

    def encode(params: Params) -> dict[str, Any]:
        original = task.encode(params)
        return {anonym: original[name] for anonym, name in names.items()}

    space = {anonym: task.space[name] for anonym, name in names.items()}
    return replace(task, space=space, evaluate=evaluate, text="", parameters={}, encode=encode)


def indexed(task: Task) -> Task:
    """The same task with the order of its ordinal parameters: an integer stands for each choice that is a number.

    Tables hold numbers that lie on no grid, so that their parameters are categorical. That hides their order from
    samplers which do not read: here they get it.
    """
    ordinal = {name: choices for name, kind in task.space.items() if (choices := ordinal_choices(kind)) is not None}

    def evaluate(params: Params) -> Evaluation:
        return task.evaluate({name: ordinal[name][x] if name in ordinal else x for name, x in params.items()})

    def encode(params: Params) -> dict[str, Any]:
        return {name: ordinal[name].index(x) if name in ordinal else x for name, x in task.encode(params).items()}

    integers = {name: IntDistribution(0, len(choices) - 1) for name, choices in ordinal.items()}
    return replace(task, space={**task.space, **integers}, evaluate=evaluate, encode=encode)


def ordinal_choices(distribution: BaseDistribution) -> tuple[Any, ...] | None:
    """The choices of a categorical parameter whose choices are numbers in rising order, else None."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    choices = distribution.choices
    if any(isinstance(choice, bool) or not isinstance(choice, int | float) for choice in choices):
        return None
    return choices if list(choices) == sorted(choices) else None  # type: ignore[type-var]


def regret(value: float, reference: Reference) -> float:
    """|value - best| / |median - best|, 0 for a value better than the best known one.

    0 is the best known value, 1 the median of random configurations; worse ones are above 1, without a bound.
    A task whose median is its best has nothing to tune: 0 or infinity.
    """
    worse = value - reference.best if reference.median >= reference.best else reference.best - value
    scale = abs(reference.median - reference.best)
    if worse <= 0:
        return 0.0
    return worse / scale if scale else math.inf
