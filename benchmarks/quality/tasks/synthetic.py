"""Functions with a known best value: smooth, mixed, conditional, and one with a narrow valley on a log scale.

They cost nothing; the seconds of an evaluation are made up, and follow from the configuration.
"""

import math
import random
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .draws import draws
from .task import Evaluation, Params, Reference, Task

SUITE: Final = "synthetic"
DRAWS: Final = 2001  # random configurations behind a median
KERNELS: Final = {"rbf": 0.0, "linear": 0.4, "poly": 0.25}

Space = Mapping[str, BaseDistribution]


def branin(params: Params) -> float:
    """Branin's function; its smallest value is 0.397887."""
    x, y = params["x"], params["y"]
    bowl = (y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def mixed(params: Params) -> float:
    """A training loss as it might be: log, integer, step and categorical parameters; 0 at its best."""
    rate = math.log10(params["learning_rate"]) + 2.5
    depth = (params["layers"] - 4) / 4
    drop = params["dropout"] - 0.2
    optimizer = {"adam": 0.0, "sgd": 0.15 + 0.2 * max(0.0, -rate), "rmsprop": 0.05}[params["optimizer"]]
    return float(rate**2 + depth**2 + 2 * drop**2 + 0.5 * abs(depth * rate) + optimizer)


def conditional(params: Params) -> float:
    """A choice decides which other parameters count at all; 0 at its best."""
    kernel = params["kernel"]
    cost = (math.log10(params["C"]) - 1.0) ** 2 / 4
    if kernel == "rbf":
        return cost + (math.log10(params["gamma"]) + 2.0) ** 2 / 2
    if kernel == "poly":
        return float(cost + KERNELS[kernel] + (params["degree"] - 3) ** 2 / 8 + (params["coef0"] - 0.5) ** 2)
    return cost + KERNELS[kernel]


def valley(params: Params) -> float:
    """A product that must be right while both factors may vary over decades; 0 at its best."""
    product = math.log10(params["rate"]) + math.log10(params["steps"])
    return abs(product) + 0.1 * abs(math.log10(params["rate"]) + 2.0)


def _task(
    name: str, function: Callable[[Params], float], space: Space, best: float, text: str, parameters: dict[str, str]
) -> Task:
    return Task(
        name=f"{SUITE}/{name}",
        suite=SUITE,
        space=space,
        direction="minimize",
        evaluate=partial(_evaluate, function),
        text=text,
        parameters=parameters,
        reference=Reference(best=best, median=_median(function, space)),
    )


def _evaluate(function: Callable[[Params], float], params: Params) -> Evaluation:
    return Evaluation(value=function(params), seconds=10 * (1 + random.Random(repr(sorted(params.items()))).random()))


def _median(function: Callable[[Params], float], space: Space) -> float:
    return statistics.median(function(params) for params in draws(space, seed=0, count=DRAWS))


def _branin() -> Task:
    space = {"x": FloatDistribution(-5.0, 10.0), "y": FloatDistribution(0.0, 15.0)}
    words = {"x": "the first coordinate", "y": "the second coordinate"}
    return _task("branin", branin, space, 0.39788735772973816, "A smooth function of two numbers.", words)


def _mixed() -> Task:
    space = {
        "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
        "layers": IntDistribution(1, 12),
        "dropout": FloatDistribution(0.0, 0.6, step=0.1),
        "optimizer": CategoricalDistribution(("adam", "sgd", "rmsprop")),
    }
    words = {
        "learning_rate": "step size of the optimizer",
        "layers": "number of hidden layers",
        "dropout": "share of units dropped in training",
        "optimizer": "training algorithm",
    }
    # Of the three best optimizers only adam reaches 0, at 10 ** -2.5, 4 layers and dropout 0.2.
    return _task("mixed", mixed, space, 0.0, "A made-up network; the metric is its validation loss.", words)


def _conditional() -> Task:
    space = {
        "kernel": CategoricalDistribution(tuple(KERNELS)),
        "C": FloatDistribution(1e-3, 1e3, log=True),
        "gamma": FloatDistribution(1e-5, 1e1, log=True),
        "degree": IntDistribution(2, 6),
        "coef0": FloatDistribution(0.0, 1.0),
    }
    words = {
        "kernel": "kernel of the support vector machine; it decides which other parameters count",
        "C": "cost of an error",
        "gamma": "width of the rbf kernel; ignored by the others",
        "degree": "degree of the poly kernel; ignored by the others",
        "coef0": "constant of the poly kernel; ignored by the others",
    }
    text = "A made-up support vector machine; the metric is its validation loss."
    return _task("conditional", conditional, space, 0.0, text, words)


def _valley() -> Task:
    space = {"rate": FloatDistribution(1e-6, 1.0, log=True), "steps": IntDistribution(1, 100_000, log=True)}
    words = {"rate": "size of a step", "steps": "number of steps"}
    return _task("valley", valley, space, 0.0, "A made-up descent; the metric is its distance from the goal.", words)


BUILDERS: Final[Mapping[str, Callable[[], Task]]] = {
    f"{SUITE}/branin": _branin,
    f"{SUITE}/mixed": _mixed,
    f"{SUITE}/conditional": _conditional,
    f"{SUITE}/valley": _valley,
}
