"""Thin runners: each makes one measurement and returns a record."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import anyio
import optuna
from optuna.trial import TrialState

from optuna_llm import Budget, FunctionClient, Limits, Reply, Request, Usage, optimize_async
from optuna_llm.samplers.limits.budget import Account
from optuna_llm.samplers.limits.limiter import Limiter
from optuna_llm.samplers.limits.stack import ClientStack

from .limits import Load, Timeline
from .results import Spread, spread
from .storages import StudyPlace, place
from .workload import SPACE, HoldProbe, LagProbe, SleepingModel, prefill, sampler, suggest_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Seconds of each model call and of each objective, in the order in which they begin."""

    llm: tuple[float, ...]
    objective: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """Lag samples of the caller's loop and of the loop that model calls run on, in seconds."""

    engine: tuple[float, ...]
    llm: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalCost:
    """CPU seconds of proposals: the first, which takes in all history, and those after it.

    `hold` is the most that the first one spent without letting others run, and `collection` the longest collection of
    garbage that fell on it, which is not part of `hold`.
    """

    first: float
    hold: float
    collection: float
    later: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """Seconds of a trial through the whole engine when model and objective take no time."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCost:
    """CPU seconds of a call of a bare client, and of the same through limits, budget and retries."""

    bare: float
    line: float


def run_engine(load: Load, times: Latencies, where: StudyPlace) -> Timeline:
    """`optimize_async` with an objective that sleeps."""
    study = where.study(sampler(SleepingModel(times.llm)))
    return anyio.run(run_study, study, load, times)


async def run_study(study: optuna.Study, load: Load, times: Latencies) -> Timeline:
    seconds = iter(times.objective)
    begins: list[float] = []
    began = time.perf_counter()

    async def objective(trial: object) -> float:
        begins.append(time.perf_counter() - began)
        await anyio.sleep(next(seconds))
        return random.random()

    report = await optimize_async(
        study, objective, n_trials=load.n, n_workers=load.workers, prefetch=load.prefetch, search_space=SPACE
    )
    makespan = time.perf_counter() - began
    assert report.n_complete == load.n, report
    return Timeline(begins=tuple(begins), makespan=makespan)


def run_lag(load: Load, times: Latencies, where: StudyPlace) -> Lags:
    """`optimize_async` while timers on both loops are watched."""
    caller, model = LagProbe(), LagProbe()
    study = where.study(sampler(SleepingModel(times.llm, model)))

    async def watched() -> None:
        caller.start()
        await run_study(study, load, times)

    try:
        anyio.run(watched)
    finally:
        caller.stop()
        model.stop()
    return Lags(engine=tuple(caller.samples), llm=tuple(model.samples))


def run_optimize(load: Load, times: Latencies, where: StudyPlace) -> Timeline:
    """`Study.optimize` with as many threads and the same sampler."""
    study = where.study(sampler(SleepingModel(times.llm)))
    seconds, begins, lock = iter(times.objective), [], threading.Lock()

    def objective(trial: optuna.Trial) -> float:
        suggest_all(trial)
        with lock:
            begins.append(time.perf_counter() - began)
            mine = next(seconds)
        time.sleep(mine)
        return random.random()

    began = time.perf_counter()
    study.optimize(objective, n_trials=load.n, n_jobs=load.workers)
    return Timeline(begins=tuple(sorted(begins)), makespan=time.perf_counter() - began)


def storage_cost(where: StudyPlace, n: int) -> Spread:
    """Seconds of plain Optuna's ask with all parameters and tell, one trial after the other."""
    study, samples = where.study(), []
    for _ in range(n):
        began = time.perf_counter()
        study.tell(study.ask(SPACE), 0.5)
        samples.append(time.perf_counter() - began)
    return spread(samples)


def proposal_cost(history: int, in_flight: int, n: int) -> ProposalCost:
    """CPU of proposals on the model's thread, from one call of the model to the next: parse, conform, context, prompt.

    One more result arrives before each. Reading the study happens on another thread and is not part of it.
    """
    model = _MarkingModel()
    mind = sampler(model)
    with place("memory") as where:
        other, study = where.study(), where.study()
        prefill(study, history)
        prefill(study, in_flight, TrialState.RUNNING)
        anyio.run(mind.propose, other)
        for _ in range(n + 2):
            anyio.run(mind.propose, study)
            prefill(study, 1)
    probe = first_hold(history)
    return ProposalCost(
        first=sum(model.costs[:2]),
        hold=probe.longest,
        collection=probe.longest_collection,
        later=tuple(model.costs[2:]),
    )


def first_hold(history: int) -> HoldProbe:
    """The most CPU seconds in one go on the model's loop, while the first proposal takes in a history."""
    probe = HoldProbe()
    mind = sampler(SleepingModel(repeat(0.0), probe))
    with place("memory") as where:
        other, study = where.study(), where.study()
        prefill(study, history)
        anyio.run(mind.propose, other)
        probe.reset()
        anyio.run(mind.propose, study)
    probe.stop()
    return probe


class _MarkingModel(SleepingModel):
    """Notes how much CPU its thread used between its calls."""

    def __init__(self) -> None:
        super().__init__(repeat(0.0))
        self.costs: list[float] = []
        self._left: float | None = None

    async def __call__(self, request: Request) -> dict[str, Any]:
        if self._left is not None:
            self.costs.append(time.thread_time() - self._left)
        document = await super().__call__(request)
        self._left = time.thread_time()
        return document


def chain_cost(n: int) -> ChainCost:
    """Calls of a client that answers at once, bare and through the line with limits that do not bind; 8 at a time."""
    reply = Reply(text="{}", usage=Usage(prompt_tokens=1000, completion_tokens=50))
    client = FunctionClient(lambda _: reply)
    messages = [{"role": "user", "content": "x" * 6000}]
    request = Request(messages=messages, schema={"type": "object", "properties": {name: {} for name in SPACE}})
    limits = Limits(requests_per_minute=1e9, tokens_per_minute=1e12, max_in_flight=1000)
    stack = ClientStack(client, Limiter(limits), Account(Budget(tokens=10**12)))

    async def through_line() -> None:
        conversation = stack.calls()
        async with conversation.turn():
            await conversation.complete(request)

    return ChainCost(bare=_cpu_per_call(lambda: client.complete(request), n), line=_cpu_per_call(through_line, n))


def _cpu_per_call(call: Callable[[], Awaitable[object]], n: int) -> float:
    async def main() -> float:
        began = time.thread_time()
        for _ in range(n // 8):
            await asyncio.gather(*(call() for _ in range(8)))
        return (time.thread_time() - began) / (n // 8 * 8)

    return asyncio.run(main())


def trial_cost(where: StudyPlace, history: int, workers: int, n: int, repeats: int) -> list[TrialCost]:
    """The whole engine at L = T = 0 on a study with a past, which a first short run has taken in."""
    study = where.study(sampler(SleepingModel(repeat(0.0))))
    prefill(study, history)
    _instant(study, workers, workers)
    return [_timed(study, workers, n) for _ in range(repeats)]


def _timed(study: optuna.Study, workers: int, n: int) -> TrialCost:
    cpu, began = time.process_time(), time.perf_counter()
    _instant(study, workers, n)
    return TrialCost(cpu=(time.process_time() - cpu) / n, wall=(time.perf_counter() - began) / n)


def _instant(study: optuna.Study, workers: int, n: int) -> None:
    load = Load(n=n, workers=workers, llm_seconds=0.0, objective_seconds=0.0)
    anyio.run(run_study, study, load, Latencies(llm=(), objective=(0.0,) * n))
