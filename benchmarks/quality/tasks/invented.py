"""Tasks made for this project, so that no model can recall their answers; some have a meaning, some have none.

Functions are bent, turned and moved: their best values stand at no round place, and no published function has them.
Two train a model on data made here, and one simulates a cache, so that knowledge of such things helps, and guessing
does not. Best and median are known, or those of a random search of 200 draws (`invented.json`, written by
`python -m benchmarks.quality.tasks.invented`).
"""

import math
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from .invention import Invention, builders, search
from .task import Params

SUITE: Final = "invented"
REFERENCES: Final = Path(__file__).resolve().parent / "invented.json"


def kiln(params: Params) -> float:
    """Strength of a fired tile: heat and time trade off, ramps crack it, each glaze has a heat of its own."""
    best_heat = {"ash": 1187.0, "celadon": 1243.0, "shino": 1218.0}[params["glaze"]]
    strength = {"ash": 63.0, "celadon": 71.5, "shino": 69.0}[params["glaze"]]
    work = params["peak"] + 41.0 * math.log2(params["soak"] / 37.0)  # an hour more stands for some degrees
    sintered = math.exp(-(((work - best_heat) / 46.0) ** 2))
    cracks = 1.0 / (1.0 + (params["ramp"] / 163.0) ** 3.2)
    gas = 1.0 - 0.6 * abs(params["oxygen"] - (0.07 if params["glaze"] == "celadon" else 0.16)) ** 0.8
    return float(strength * sintered * cracks * gas)


def numbers(params: Params) -> float:
    """Four numbers without a meaning: a turned, bent bowl with a shallow ripple."""
    x = np.array([params[name] for name in ("a", "b", "c", "d")])
    turn = np.array([[0.8, 0.6, 0.0, 0.0], [-0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.28, 0.96], [0.0, 0.0, -0.96, 0.28]])
    y = turn @ (x - np.array([1.37, -2.11, 0.62, 3.05]))
    bent = y[0] - 0.31 * y[1] ** 2
    return float(bent**2 + 0.4 * y[1] ** 2 + 2.2 * y[2] ** 2 + 0.7 * abs(y[3]) ** 1.5 + 0.25 * math.sin(3 * y[2]) ** 2)


def branches(params: Params) -> float:
    """Three numbers and a choice without a meaning: the choice decides which two of them count."""
    a, b, c = (params[name] for name in ("a", "b", "c"))
    match params["kind"]:
        case "u":
            return float(53.4 - 3.1 * (a - 6.2) ** 2 - 8.0 * abs(b - 0.37))
        case "v":
            return float(41.8 - 2.0 * (math.log10(c) + 1.6) ** 2 - 6.5 * (b - 0.81) ** 2)
        case _:
            return float(47.3 - 0.9 * (a - 2.3) ** 2 - 5.0 * (math.log10(c) - 0.4) ** 2)


def cache(params: Params) -> float:
    """Cost of a thousand requests to a cache: misses, stale answers, and the memory that it takes."""
    size, policy, lifetime = params["entries"], params["policy"], params["lifetime"]
    kept: OrderedDict[int, tuple[int, int]] = OrderedDict()  # key: (stored at, hits)
    misses = stale = 0
    trace, changed = _trace()
    for now, key in enumerate(trace):
        entry = kept.get(key)
        if entry is None or now - entry[0] > lifetime:
            misses += 1
            kept[key] = (now, 1)
            if len(kept) > size:
                least = min(kept, key=lambda k: kept[k][1]) if policy == "lfu" else next(iter(kept))
                del kept[least]
        else:
            stale += changed[key] > entry[0] and changed[key] <= now
            kept[key] = (entry[0], entry[1] + 1)
        if policy == "lru" and key in kept:
            kept.move_to_end(key)
    work = misses * (1.0 + 4.0 / params["batch"]) + 0.06 * misses * math.log2(params["batch"]) ** 2
    return float((work + 2.7 * stale + 0.9 * size) / len(trace) * 1000)


@lru_cache(maxsize=1)
def _trace() -> tuple[list[int], dict[int, int]]:
    """Keys that are asked for, some far more often, and when each one's value changes."""
    rng = np.random.default_rng(20261126)
    keys = np.minimum(rng.zipf(1.25, size=6000), 900)
    shifted = np.where(np.arange(6000) > 3300, (keys + 17) % 900, keys)
    return [int(key) for key in shifted], {key: int(rng.integers(200, 6000)) for key in range(901)}


def svr(params: Params) -> float:
    """R2 of a support vector regression on waves with noise, two of eight features being useless."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler
    from sklearn.svm import SVR

    scalers = {"standard": StandardScaler(), "robust": RobustScaler(), "quantile": QuantileTransformer(n_quantiles=60)}
    model = SVR(C=params["C"], gamma=params["gamma"], epsilon=params["epsilon"])
    return _score(make_pipeline(scalers[params["scaler"]], model), *_waves())


def boosting(params: Params) -> float:
    """R2 of gradient boosting on the same waves."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=params["trees"],
        learning_rate=params["learning_rate"],
        max_depth=params["depth"],
        subsample=params["subsample"],
        min_samples_leaf=params["min_leaf"],
        max_features=params["features"],
        random_state=0,
    )
    return _score(model, *_waves())


def _score(model: Any, features: Any, targets: Any) -> float:
    from sklearn.model_selection import cross_val_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(np.mean(cross_val_score(model, features, targets, cv=4, scoring="r2")))


@lru_cache(maxsize=1)
def _waves() -> tuple[Any, Any]:
    rng = np.random.default_rng(71)
    x = rng.normal(size=(260, 8)) * np.array([1, 3, 0.2, 10, 1, 1, 5, 1])
    wave = np.sin(1.3 * x[:, 0] + 0.2 * x[:, 1]) + 0.05 * x[:, 3] * (x[:, 4] > 0.3) + 2.0 * x[:, 2] ** 2
    return x, wave + 0.3 * np.tanh(x[:, 5] * x[:, 7]) + 0.15 * rng.normal(size=260)


INVENTIONS: Final[Mapping[str, Invention]] = {
    "kiln": Invention(
        function=kiln,
        space={
            "peak": FloatDistribution(950.0, 1320.0),
            "soak": FloatDistribution(5.0, 240.0, log=True),
            "ramp": FloatDistribution(20.0, 600.0, log=True),
            "oxygen": FloatDistribution(0.0, 0.21),
            "glaze": CategoricalDistribution(("ash", "celadon", "shino")),
        },
        direction="maximize",
        best=kiln({"peak": 1243.0, "soak": 37.0, "ramp": 20.0, "oxygen": 0.07, "glaze": "celadon"}),
        text="Firing stoneware tiles. The metric is the tile's strength.",
        words={
            "peak": "peak temperature, degrees Celsius",
            "soak": "minutes at the peak",
            "ramp": "degrees an hour on the way up",
            "oxygen": "share of oxygen in the kiln's air",
            "glaze": "kind of glaze",
        },
    ),
    "numbers": Invention(
        function=numbers,
        space={name: FloatDistribution(-5.0, 5.0) for name in ("a", "b", "c", "d")},
        direction="minimize",
        best=0.0,
    ),
    "branches": Invention(
        function=branches,
        space={
            "kind": CategoricalDistribution(("u", "v", "w")),
            "a": FloatDistribution(-10.0, 10.0),
            "b": FloatDistribution(0.0, 1.0),
            "c": FloatDistribution(1e-4, 1e2, log=True),
        },
        direction="maximize",
        best=branches({"kind": "u", "a": 6.2, "b": 0.37, "c": 1.0}),
    ),
    "cache": Invention(
        function=cache,
        space={
            "entries": IntDistribution(10, 1000, log=True),
            "policy": CategoricalDistribution(("fifo", "lru", "lfu")),
            "lifetime": IntDistribution(20, 6000, log=True),
            "batch": IntDistribution(1, 64, log=True),
        },
        direction="minimize",
        text="A cache in front of a slow service, replayed on 6,000 requests. The metric is cost per 1,000 requests.",
        words={
            "entries": "entries that fit; each costs memory",
            "policy": "which entry goes first when it is full",
            "lifetime": "requests after which an entry is asked for anew",
            "batch": "misses that are sent to the service together",
        },
    ),
    "svr": Invention(
        function=svr,
        space={
            "C": FloatDistribution(1e-3, 1e4, log=True),
            "gamma": FloatDistribution(1e-4, 1e2, log=True),
            "epsilon": FloatDistribution(1e-3, 1.0, log=True),
            "scaler": CategoricalDistribution(("standard", "robust", "quantile")),
        },
        direction="maximize",
        text="scikit-learn SVR with an rbf kernel on 260 noisy rows with 8 features. The metric is R2 in 4 folds.",
        words={"C": "cost of an error", "gamma": "width of the kernel", "epsilon": "error that costs nothing"},
    ),
    "boosting": Invention(
        function=boosting,
        space={
            "trees": IntDistribution(10, 400, log=True),
            "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
            "depth": IntDistribution(1, 10),
            "subsample": FloatDistribution(0.2, 1.0),
            "min_leaf": IntDistribution(1, 60, log=True),
            "features": FloatDistribution(0.1, 1.0),
        },
        direction="maximize",
        text="scikit-learn gradient boosting on 260 noisy rows with 8 features. The metric is R2 in 4 folds.",
        words={
            "trees": "number of trees",
            "depth": "largest depth of a tree",
            "subsample": "share of rows that each tree sees",
            "min_leaf": "fewest rows in a leaf",
            "features": "share of features looked at for a split",
        },
    ),
}


BUILDERS: Final = builders(SUITE, INVENTIONS, REFERENCES)


if __name__ == "__main__":
    search(INVENTIONS, REFERENCES)
