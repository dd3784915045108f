"""What the throughput benchmark runs: ten parameters, a model and an objective that sleep, studies with a past."""

import asyncio
import gc
import math
import random
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from optuna_llm import FunctionClient, LLMGuidedSampler, Request

from .storages import careless

Latency = Literal["constant", "lognormal"]

SPACE: dict[str, BaseDistribution] = {
    **{f"x{index}": FloatDistribution(0.0, 1.0) for index in range(5)},
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.05),
    "width": IntDistribution(1, 512, log=True),
    "layers": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(("adam", "sgd", "rmsprop")),
}
SIGMA = 0.5
LAG_INTERVAL = 0.005


def latencies(kind: Latency, mean: float, n: int, seed: int) -> list[float]:
    """`n` durations in seconds with this mean; lognormal ones have sigma 0.5."""
    if kind == "constant" or mean == 0:
        return [mean] * n
    rng = random.Random(seed)
    return [mean * math.exp(rng.gauss(0.0, SIGMA) - SIGMA**2 / 2) for _ in range(n)]


def answer(schema: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """A document that the schema allows: the first candidate of a menu, else drawn at random."""
    parts = schema["properties"]
    return {name: 1 if name == "candidate" else _draw(part, rng) for name, part in parts.items()}


def _draw(part: Mapping[str, Any], rng: random.Random) -> Any:
    if "enum" in part:
        return rng.choice(part["enum"])
    match part["type"]:
        case "integer":
            return rng.randint(part["minimum"], part["maximum"])
        case "number":
            return rng.uniform(part["minimum"], part["maximum"])
        case _:
            return "drawn at random, for the benchmark"


class LagProbe:
    """Samples how late an event loop runs a timer; start it on the loop that it watches."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._next(loop)

    def stop(self) -> None:
        self._stopped = True

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + LAG_INTERVAL
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if not self._stopped:
            self.samples.append(loop.time() - due)
            self._next(loop)


class HoldProbe:
    """The most CPU time that an event loop's thread spent in one go, between two of the loop's iterations.

    Collections of the interpreter's garbage may fall on any code of a process that holds much; they are kept apart.
    """

    def __init__(self) -> None:
        self.reset()
        self._since: float | None = None
        self._stopped = False
        self._thread: int | None = None

    def reset(self) -> None:
        self.longest = self.longest_collection = 0.0
        self._collected = self._collecting_since = 0.0

    def start(self) -> None:
        if self._since is None:
            self._thread = threading.get_ident()
            gc.callbacks.append(self._collect)
            self._tick()

    def stop(self) -> None:
        self._stopped = True
        gc.callbacks.remove(self._collect)

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        now = time.thread_time()
        if phase == "start":
            self._collecting_since = now
        else:
            self._collected += now - self._collecting_since
            self.longest_collection = max(self.longest_collection, now - self._collecting_since)

    def _tick(self) -> None:
        now = time.thread_time()
        if self._since is not None:
            self.longest = max(self.longest, now - self._since - self._collected)
        self._since, self._collected = now, 0.0
        if not self._stopped:
            asyncio.get_running_loop().call_soon(self._tick)


class SleepingModel:
    """A model that takes its time and answers the request's own schema; a probe watches the loop that it runs on."""

    def __init__(self, seconds: Iterable[float], probe: LagProbe | HoldProbe | None = None, seed: int = 0) -> None:
        self._seconds = iter(seconds)
        self._last = 0.0
        self._probe = probe
        self._rng = random.Random(seed)

    async def __call__(self, request: Request) -> dict[str, Any]:
        if self._probe is not None:
            self._probe.start()
        seconds = self._last = next(self._seconds, self._last)  # a re-ask takes as long as the last one
        if seconds:
            await asyncio.sleep(seconds)
        return answer(request.schema, self._rng)


def sampler(model: SleepingModel) -> LLMGuidedSampler:
    """The sampler that every case uses."""
    return LLMGuidedSampler(FunctionClient(model), task="Minimize a benchmark function.", search_space=SPACE)


def random_params(rng: random.Random) -> dict[str, Any]:
    """A configuration of `SPACE`."""
    return {name: _value(distribution, rng) for name, distribution in SPACE.items()}


def _value(distribution: BaseDistribution, rng: random.Random) -> Any:
    match distribution:
        case CategoricalDistribution():
            return rng.choice(distribution.choices)
        case IntDistribution():
            return rng.randrange(distribution.low, distribution.high + 1, distribution.step)
        case FloatDistribution(step=float(step)):
            return round(rng.randint(0, round((distribution.high - distribution.low) / step)) * step, 10)
        case FloatDistribution():
            return rng.uniform(distribution.low, distribution.high)


def prefill(study: optuna.Study, n: int, state: TrialState = TrialState.COMPLETE) -> None:
    """Give the study a past of `n` more trials, each in one storage write."""
    rng = random.Random(n)
    with careless(study._storage):
        for _ in range(n):
            value = rng.random() if state.is_finished() else None
            trial = create_trial(state=state, value=value, params=random_params(rng), distributions=SPACE)
            study._storage.create_new_trial(study._study_id, template_trial=trial)


def suggest_all(trial: Any) -> None:
    """Suggest every parameter, as a define-by-run objective does."""
    for name, distribution in SPACE.items():
        match distribution:
            case CategoricalDistribution(choices=choices):
                trial.suggest_categorical(name, choices)
            case IntDistribution(low=low, high=high, step=step, log=log):
                trial.suggest_int(name, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                trial.suggest_float(name, low, high, step=step, log=log)
