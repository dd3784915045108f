"""scikit-learn's models on its bundled data sets, after the protocol of Bayesmark (Turner et al., 2021).

The metric is the mean of 5-fold cross-validation on four fifths of the data, as they are bundled, split with a fixed
seed: accuracy (to be maximized), and mean squared error (to be minimized) on diabetes, the only regression data set.
Models and ranges are Bayesmark's own, five of its nine models. What differs, because Optuna or scikit-learn do not have
it: ranges that are uniform in the logit are uniform here; models have a fixed seed, so that a configuration has one
value; the Boston data set is gone.

Best and median are those of random configurations, searched once and stored in `references.json`.
"""

import importlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from joblib import Memory
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from .task import Direction, Evaluation, Params, Reference, Task

SUITE: Final = "sklearn"
REFERENCES: Final = Path(__file__).resolve().parent / "references.json"
FOLDS: Final = 5
WORST_ERROR: Final = 1e6  # mean squared error of a model that diverged

DATASETS: Final = {
    "breast": "breast cancer, 569 rows, 30 features, 2 classes",
    "digits": "handwritten digits, 1,797 rows, 64 features, 10 classes",
    "iris": "iris flowers, 150 rows, 4 features, 3 classes",
    "wine": "wines, 178 rows, 13 features, 3 classes",
    "diabetes": "diabetes progression, 442 rows, 10 features, regression",
}
LOADERS: Final = {"breast": "load_breast_cancer", **{name: f"load_{name}" for name in DATASETS if name != "breast"}}
REGRESSION: Final = ("diabetes",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A kind of model: its classes in scikit-learn by "module:name", what is fixed, and what is searched."""

    about: str
    classifier: str
    regressor: str
    space: Mapping[str, BaseDistribution]
    words: Mapping[str, str]
    fixed: Mapping[str, Any]


TREE_WORDS: Final = {
    "max_depth": "largest depth of a tree",
    "min_samples_split": "smallest share of rows in a node that is split",
    "min_samples_leaf": "smallest share of rows in a leaf",
    "min_weight_fraction_leaf": "smallest share of weight in a leaf",
    "max_features": "share of features looked at for a split",
    "min_impurity_decrease": "smallest gain of a split",
}
TREE: Final[Mapping[str, BaseDistribution]] = {
    "max_depth": IntDistribution(1, 15),
    "min_samples_split": FloatDistribution(0.01, 0.99),
    "min_samples_leaf": FloatDistribution(0.01, 0.49),
    "min_weight_fraction_leaf": FloatDistribution(0.01, 0.49),
    "max_features": FloatDistribution(0.01, 0.99),
    "min_impurity_decrease": FloatDistribution(0.0, 0.5),
}
LEARNERS: Final = {
    "SVM": Learner(
        about="support vector machine with an rbf kernel, features not scaled",
        classifier="svm:SVC",
        regressor="svm:SVR",
        space={
            "C": FloatDistribution(1.0, 1e3, log=True),
            "gamma": FloatDistribution(1e-4, 1e-3, log=True),
            "tol": FloatDistribution(1e-5, 1e-1, log=True),
        },
        words={"C": "cost of an error", "gamma": "width of the kernel", "tol": "tolerance at which fitting stops"},
        fixed={"kernel": "rbf"},
    ),
    "DT": Learner(
        about="decision tree",
        classifier="tree:DecisionTreeClassifier",
        regressor="tree:DecisionTreeRegressor",
        space=TREE,
        words=TREE_WORDS,
        fixed={"random_state": 0},
    ),
    "RF": Learner(
        about="random forest of 10 trees",
        classifier="ensemble:RandomForestClassifier",
        regressor="ensemble:RandomForestRegressor",
        space=TREE,
        words=TREE_WORDS,
        fixed={"n_estimators": 10, "random_state": 0},
    ),
    "MLP-sgd": Learner(
        about="network with one hidden layer, trained by SGD with early stopping, features not scaled",
        classifier="neural_network:MLPClassifier",
        regressor="neural_network:MLPRegressor",
        space={
            "hidden_layer_sizes": IntDistribution(50, 200),
            "alpha": FloatDistribution(1e-5, 1e1, log=True),
            "batch_size": IntDistribution(10, 250),
            "learning_rate_init": FloatDistribution(1e-5, 1e-1, log=True),
            "power_t": FloatDistribution(0.1, 0.9),
            "tol": FloatDistribution(1e-5, 1e-1, log=True),
            "momentum": FloatDistribution(0.001, 0.999),
            "validation_fraction": FloatDistribution(0.1, 0.9),
        },
        words={
            "hidden_layer_sizes": "units in the hidden layer",
            "alpha": "L2 penalty on the weights",
            "batch_size": "examples in a mini-batch",
            "learning_rate_init": "initial learning rate",
            "power_t": "exponent by which the learning rate falls",
            "tol": "improvement below which training stops",
            "momentum": "momentum of SGD",
            "validation_fraction": "share of rows kept for early stopping",
        },
        fixed={"solver": "sgd", "early_stopping": True, "learning_rate": "invscaling", "random_state": 0},
    ),
    "ada": Learner(
        about="AdaBoost",
        classifier="ensemble:AdaBoostClassifier",
        regressor="ensemble:AdaBoostRegressor",
        space={"n_estimators": IntDistribution(10, 100), "learning_rate": FloatDistribution(1e-4, 1e1, log=True)},
        words={"n_estimators": "number of weak learners", "learning_rate": "weight of each learner"},
        fixed={"random_state": 0},
    ),
}


CACHE: Final = Memory(
    os.environ.get("OPTUNA_LLM_BENCHMARK_CACHE") or Path(__file__).resolve().parents[2] / "results" / "evaluations",
    verbose=0,
)
"""Evaluations that were paid for once, on disk, until the code of `cross_validate` changes."""


@CACHE.cache  # type: ignore[untyped-decorator]
def cross_validate(learner: str, dataset: str, params: Params) -> Evaluation:
    """The metric of one configuration, and the seconds that it took."""
    from sklearn.model_selection import cross_val_score

    data = _data(dataset)
    model = _model(LEARNERS[learner], dataset in REGRESSION, params)
    scoring = "neg_mean_squared_error" if dataset in REGRESSION else "accuracy"
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strange configurations are what a search tries
        scores = cross_val_score(model, *data, scoring=scoring, cv=FOLDS, error_score=math.nan)
    mean = float(sum(scores) / len(scores))
    return Evaluation(value=_value(mean, dataset in REGRESSION), seconds=time.perf_counter() - began)


def _value(score: float, regression: bool) -> float:
    """A model that diverges has a value, too: the worst one."""
    if regression:
        return min(-score, WORST_ERROR) if math.isfinite(score) else WORST_ERROR
    return score if math.isfinite(score) else 0.0


def _model(learner: Learner, regression: bool, params: Params) -> Any:
    module, name = (learner.regressor if regression else learner.classifier).split(":")
    fixed = dict(learner.fixed)
    if name == "MLPRegressor":
        fixed["activation"] = "tanh"
    return getattr(_sklearn(module), name)(**fixed, **params)


def _sklearn(module: str) -> Any:
    return importlib.import_module(f"sklearn.{module}")


@lru_cache(maxsize=8)
def _data(dataset: str) -> tuple[Any, Any]:
    """Features and targets of the four fifths that are searched on."""
    from sklearn.model_selection import train_test_split

    features, targets = getattr(_sklearn("datasets"), LOADERS[dataset])(return_X_y=True)
    kept, _, wanted, _ = train_test_split(features, targets, test_size=0.2, random_state=0, shuffle=True)
    return kept, wanted


def direction(dataset: str) -> Direction:
    return "minimize" if dataset in REGRESSION else "maximize"


def _task(learner: str, dataset: str) -> Task:
    name = f"{SUITE}/{learner}-{dataset}"
    stored = json.loads(REFERENCES.read_text(encoding="utf-8"))[name]
    metric = "mean squared error" if dataset in REGRESSION else "accuracy"
    about = LEARNERS[learner]
    return Task(
        name=name,
        suite=SUITE,
        space=about.space,
        direction=direction(dataset),
        evaluate=partial(cross_validate, learner, dataset),
        text=f"scikit-learn: {about.about} ({DATASETS[dataset]}). The metric is the {metric} of 5-fold validation.",
        parameters=about.words,
        reference=Reference(best=stored["best"], median=stored["median"]),
    )


BUILDERS: Final[Mapping[str, Callable[[], Task]]] = {
    f"{SUITE}/{learner}-{dataset}": partial(_task, learner, dataset) for learner in LEARNERS for dataset in DATASETS
}
