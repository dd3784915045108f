"""Simulated systems as engineers tune them, made for this project: parameters mean what their names say.

A network that is trained, a kernel's cost, a controlled tank and a service under load. Best and median are those of
200 random draws (`systems.json`, written by `python -m benchmarks.quality.tasks.systems`).
"""

import heapq
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from .invention import Invention, builders, search
from .task import Params

SUITE: Final = "systems"
REFERENCES: Final = Path(__file__).resolve().parent / "systems.json"
WORST_LOSS: Final = 5.0  # of a network that has diverged


def network(params: Params) -> float:
    """Loss on held-out rows of a network with one hidden layer, after 12 passes of gradient descent with momentum."""
    (x, y), (held, truth) = _rings()
    rng = np.random.default_rng(3)
    width, batch, decay = params["width"], params["batch"], params["weight_decay"]
    weights = [
        rng.normal(size=(x.shape[1], width)) * params["init"] / math.sqrt(x.shape[1]),
        np.zeros(width),
        rng.normal(size=width) * params["init"] / math.sqrt(width),
        np.zeros(()),
    ]
    steps = [np.zeros_like(part) for part in weights]
    with np.errstate(all="ignore"):
        for _ in range(12):
            order = rng.permutation(len(x))
            for start in range(0, len(x), batch):
                rows = order[start : start + batch]
                gradients = _gradients(weights, x[rows], y[rows], params["activation"])
                for index, gradient in enumerate(gradients):
                    total = gradient + decay * weights[index]
                    steps[index] = params["momentum"] * steps[index] - params["learning_rate"] * total
                    weights[index] = weights[index] + steps[index]
        logits = _activate(held @ weights[0] + weights[1], params["activation"])[0] @ weights[2] + weights[3]
        loss = float(np.mean(np.logaddexp(0.0, -truth * logits)))
    return min(loss, WORST_LOSS) if math.isfinite(loss) else WORST_LOSS


def _gradients(weights: Any, x: Any, y: Any, activation: str) -> list[Any]:
    hidden, slope = _activate(x @ weights[0] + weights[1], activation)
    logits = hidden @ weights[2] + weights[3]
    error = -y / (1.0 + np.exp(y * logits)) / len(x)
    back = np.outer(error, weights[2]) * slope
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum()]


def _activate(z: npt.NDArray[np.float64], activation: str) -> tuple[Any, Any]:
    """The activations and their slopes."""
    match activation:
        case "relu":
            return np.maximum(z, 0.0), (z > 0).astype(float)
        case "tanh":
            return np.tanh(z), 1.0 - np.tanh(z) ** 2
        case _:
            s = 1.0 / (1.0 + np.exp(-z))
            return s, s * (1.0 - s)


@lru_cache(maxsize=1)
def _rings() -> tuple[Any, Any]:
    """Two rings that are not round, of 10 features of which 3 count, with a tenth of the labels wrong."""
    rng = np.random.default_rng(20261127)
    x = rng.normal(size=(900, 10))
    inside = x[:, 0] ** 2 + 0.6 * (x[:, 1] + 0.4 * x[:, 2]) ** 2 < 1.1
    y = np.where(inside ^ (rng.random(900) < 0.1), 1.0, -1.0)
    return (x[:400], y[:400]), (x[400:], y[400:])


def tiles(params: Params) -> float:
    """Modelled milliseconds of a product of two 1,536 x 1,536 matrices of doubles on an eight-core machine."""
    size, cores, width, clock = 1536, 8, 4, 3.1e9
    m, n, k = (params[name] for name in ("tile_m", "tile_n", "tile_k"))
    unroll, threads = params["unroll"], params["threads"]
    padded = math.prod(math.ceil(size / tile) * tile for tile in (m, n, k))
    jobs = math.ceil(size / m) * math.ceil(size / n)
    rounds = math.ceil(jobs / threads) * threads / jobs  # the last round leaves threads idle
    busy = min(threads, cores) * (1.0 if threads <= cores else (cores / threads) ** 0.3)
    latency = 4.0 / min(unroll, 4) if unroll < 4 else 1.0
    spilled = 1.0 + 0.11 * max(0, unroll * max(1, min(n, 8) // width) - 13)  # there are sixteen registers
    vector = width if n % width == 0 else 1.6
    strided = {"ijk": 1.0 if params["pack"] else 2.9, "ikj": 1.0, "kij": 1.35}[params["order"]]
    compute = padded / vector * latency * spilled * strided / clock * rounds / busy
    inner, panel = 8 * (k * min(n, 64) + k), 8 * (m * k + k * n + m * n)
    l1 = 1.0 if inner < 32 * 1024 else 1.0 + 0.5 * math.log2(inner / (32 * 1024))
    l2 = 1.0 if panel < 512 * 1024 else 1.0 + 0.9 * math.log2(panel / (512 * 1024))
    moved = 8 * size**3 * (1 / m + 1 / n + (0.5 if params["order"] == "kij" else 1.0) / k)
    memory = moved * (1.0 if params["pack"] else 1.7) / 2.4e10
    packing = 3 * 8 * size**2 / 9e9 if params["pack"] else 0.0
    calls = 9e-8 * math.prod(math.ceil(size / tile) for tile in (m, n, k)) / busy + 1.6e-5 * threads
    return float(1000 * (max(compute * l1 * l2, memory) + 0.3 * min(compute, memory) + packing + calls))


def tank(params: Params) -> float:
    """Error, overshoot and valve wear of a PID controller that heats a tank with a delay, on one recorded day."""
    rng = np.random.default_rng(5)
    period, steps = params["period"], 1800
    noise, delayed = rng.normal(scale=0.12, size=steps), [0.0] * 18
    level = measured = filtered = before = 20.0
    integral = drive = cost = 0.0
    for second in range(steps):
        target = 60.0 if second < 900 else 45.0
        inflow = 1.0 if not 500 <= second < 620 else 1.9
        delayed.append(drive)
        level += 0.013 * (1.4 * delayed[second] ** 1.15 - inflow * (level - 20.0)) / (1.0 + 0.004 * level)
        measured = level + noise[second]
        if second % period == 0:
            filtered += (measured - filtered) * period / (period + params["filter"])
            slope, before = (filtered - before) / period, filtered
            wanted = params["kp"] * (params["setpoint_weight"] * target - filtered) + integral - params["kd"] * slope
            moved, drive = drive, min(100.0, max(0.0, wanted))
            integral += params["ki"] * period * (target - filtered) * (wanted == drive)
            cost += 0.02 * abs(drive - moved)
        cost += abs(level - target) / 10.0 + 0.4 * max(0.0, (level - target) if second < 900 else (target - level))
    return float(cost / 10.0)


def service(params: Params) -> float:
    """Cost of a service an hour: machines, late and failed answers, while bursts of requests are served in batches."""
    arrivals, work = _arrivals()
    free = [0.0] * params["workers"]
    heapq.heapify(free)
    late = failed = 0.0
    pending = [(at, index, 0) for index, at in enumerate(arrivals)]
    heapq.heapify(pending)
    timeout, wait = params["timeout"] / 1000, params["batch_wait"] / 1000
    while pending:
        first, index, tried = heapq.heappop(pending)
        batch, begin = [(first, index, tried)], max(first, free[0])
        closes = max(begin, first + wait)
        while pending and len(batch) < params["batch"] and pending[0][0] <= closes:
            batch.append(heapq.heappop(pending))
        begin = max(begin, batch[-1][0] if len(batch) == params["batch"] else closes)
        waiting = sum(1 for at, *_ in pending[: 2 * params["queue"]] if at <= begin)
        kept = batch if waiting <= params["queue"] else batch[: max(1, len(batch) // 2)]
        end = begin + 0.045 + 0.011 * len(kept) ** 0.9 + sum(work[index] for _, index, _ in kept) / 3
        heapq.heapreplace(free, end)
        for position, (at, index, tried) in enumerate(batch):
            if position < len(kept) and end - at <= timeout:
                late += max(0.0, end - at - 0.4)
            elif tried < params["retries"]:
                heapq.heappush(pending, (max(end, at + timeout) + 0.1 * 2**tried, index, tried + 1))
            else:
                failed += 1
    return float(1.1 * params["workers"] + 0.9 * late + 0.35 * failed)


@lru_cache(maxsize=1)
def _arrivals() -> tuple[list[float], list[float]]:
    """When 1,500 requests come, with three bursts, and the seconds that each needs by itself."""
    rng = np.random.default_rng(17)
    gaps = rng.exponential(scale=1 / 26, size=1500)
    for burst in (300, 700, 1150):
        gaps[burst : burst + 130] /= 4.5
    return np.cumsum(gaps).tolist(), rng.lognormal(mean=-4.3, sigma=1.1, size=1500).tolist()


SYSTEMS: Final = {
    "network": Invention(
        function=network,
        space={
            "learning_rate": FloatDistribution(1e-4, 10.0, log=True),
            "momentum": FloatDistribution(0.0, 0.99),
            "width": IntDistribution(2, 256, log=True),
            "batch": IntDistribution(2, 200, log=True),
            "weight_decay": FloatDistribution(1e-6, 1.0, log=True),
            "init": FloatDistribution(0.01, 10.0, log=True),
            "activation": CategoricalDistribution(("relu", "tanh", "sigmoid")),
        },
        direction="minimize",
        text="A network with one hidden layer in NumPy, 400 rows with 10 features and noisy labels of two classes, "
        "12 passes of SGD with momentum. The metric is the log loss on 500 held-out rows.",
        words={
            "width": "units of the hidden layer",
            "batch": "rows in a step",
            "init": "scale of the first weights, which are divided by the root of a layer's inputs",
        },
    ),
    "tiles": Invention(
        function=tiles,
        space={
            "tile_m": IntDistribution(4, 1024, log=True),
            "tile_n": IntDistribution(4, 1024, log=True),
            "tile_k": IntDistribution(4, 1024, log=True),
            "unroll": IntDistribution(1, 16),
            "threads": IntDistribution(1, 32),
            "order": CategoricalDistribution(("ijk", "ikj", "kij")),
            "pack": CategoricalDistribution((False, True)),
        },
        direction="minimize",
        text="A tiled product of two 1,536 x 1,536 matrices of doubles on 8 cores (32 KiB of L1 and 512 KiB of L2 "
        "each, vectors of 4 doubles). The metric is milliseconds.",
        words={
            "tile_m": "rows of a tile of the result",
            "tile_n": "columns of a tile of the result",
            "tile_k": "depth of a tile",
            "unroll": "independent sums in the innermost loop",
            "order": "order of the loops inside a tile",
            "pack": "whether tiles are copied to be contiguous first",
        },
    ),
    "tank": Invention(
        function=tank,
        space={
            "kp": FloatDistribution(0.01, 100.0, log=True),
            "ki": FloatDistribution(1e-5, 10.0, log=True),
            "kd": FloatDistribution(1e-2, 1e3, log=True),
            "filter": FloatDistribution(0.1, 100.0, log=True),
            "setpoint_weight": FloatDistribution(0.0, 1.0),
            "period": CategoricalDistribution((1, 2, 5, 10)),
        },
        direction="minimize",
        text="A PID controller heats a tank from 20 to 60 degrees, later to 45: its effect comes 18 seconds late, the "
        "tank's time constant is about 90 seconds, the sensor is noisy, the drive goes from 0 to 100. The metric adds "
        "absolute error, overshoot and movements of the valve over 30 minutes.",
        words={
            "kp": "proportional gain, drive per degree",
            "ki": "integral gain, drive per degree and second",
            "kd": "derivative gain, on the measurement, drive per degree a second",
            "filter": "time constant of the filter of the measurement, seconds",
            "setpoint_weight": "share of the target that the proportional part sees",
            "period": "seconds between two corrections",
        },
    ),
    "service": Invention(
        function=service,
        space={
            "workers": IntDistribution(1, 64, log=True),
            "batch": IntDistribution(1, 64, log=True),
            "batch_wait": IntDistribution(1, 2000, log=True),
            "timeout": IntDistribution(100, 20_000, log=True),
            "retries": IntDistribution(0, 6),
            "queue": IntDistribution(1, 1000, log=True),
        },
        direction="minimize",
        text="A service that answers requests in batches: 26 requests a second, with bursts of 4.5 times as many; a "
        "batch takes about 45 ms and 20 ms more for each request in it. The metric is cost: workers, seconds over "
        "0.4 s that answers are late, and failed requests.",
        words={
            "workers": "processes that serve one batch at a time; each costs 1.1",
            "batch": "most requests in a batch",
            "batch_wait": "milliseconds that the first request of a batch waits for others",
            "timeout": "milliseconds after which a caller gives up",
            "retries": "times a caller tries again",
            "queue": "waiting requests above which half of a batch is turned away",
        },
    ),
}


BUILDERS: Final = builders(SUITE, SYSTEMS, REFERENCES)


if __name__ == "__main__":
    search(SYSTEMS, REFERENCES)
