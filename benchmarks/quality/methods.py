"""What is compared: Optuna's samplers, the LLM with each strategy, what is left of it without a part, and controls.

- `plain`, `menu`, `adaptive`: `LLMGuidedSampler` with that strategy.
- `adaptive-no-in-flight`, `adaptive-no-facts`, `plain-no-facts`: the same without one part of what the model is told.
- `adaptive-anonymised`: the model is not told what is tuned, nor the parameters' names and meanings.
- `menu-no-model`: strategy "menu", and a reply drawn uniformly from the request's schema (a candidate, or a range, in
  the logarithm where that says so): what the guidance does without any model.
- `tpe-early`, `gp-early`: Optuna's sampler with three random trials at the start instead of ten, fairer with few.
- `tpe-index`, `gp-index`, `cma-index`: Optuna's sampler on the task whose ordinal choices are integers in their order
  (`tasks.indexed`), since a categorical parameter hides that order from samplers which do not read.
"""

import importlib.util
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from optuna_llm import Client, ContextPolicy, FunctionClient, LLMGuidedSampler, Reply, Request, Usage, UsageError

from .strategies import ablated
from .tasks.task import Task, anonymised, indexed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The model's client, if a method uses one, and whether the model is to say why."""

    client: Client | None = None
    rationale: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a study is sampled. `sampler` is given the task (as `view` shows it), a seed, and what it asks.

    `client` is a method's own model; `model` says that it uses the one that is measured, whose replies cost something,
    so that it runs with few seeds. `follows`: what is drawn next follows from seed and trials, so that a study goes
    on with its own seed; another sampler would draw the same again. `needs`: modules that must be installed.
    """

    sampler: Callable[[Task, int, Asked], BaseSampler]
    view: Callable[[Task], Task] = lambda task: task
    client: Callable[[int], Client] | None = None
    model: bool = False
    follows: bool = False
    needs: tuple[str, ...] = ()

    def lacks(self) -> str | None:
        """Why the method cannot run here, None if it can."""
        missing = [module for module in self.needs if importlib.util.find_spec(module) is None]
        if missing:
            return f"it needs {', '.join(missing)}: pip install {' '.join(missing)}"
        return None


def _llm(strategy: str, *, ablation: str | None = None, **policy: Any) -> Any:
    def sampler(task: Task, seed: int, asked: Asked) -> BaseSampler:
        if asked.client is None:
            raise UsageError(f"strategy {strategy!r} needs a model: --client")
        return LLMGuidedSampler(
            asked.client,
            task=task.text,
            parameters=task.parameters,
            search_space=task.space,
            context=ContextPolicy(rationale=asked.rationale, **policy),
            strategy=ablated(strategy, ablation),
            seed=seed,
        )

    return sampler


def _guided(strategy: str, **options: Any) -> Method:
    return Method(sampler=_llm(strategy, **options), model=True, follows=True)


def _optuna(kind: Callable[..., BaseSampler], **options: Any) -> Callable[[Task, int, Asked], BaseSampler]:
    return lambda task, seed, asked: kind(seed=seed, **options)


def drawing_client(seed: int) -> FunctionClient:
    """A stand-in for a model: draws every answer at random from the request's own schema."""
    return FunctionClient(Drawing(seed))


class Drawing:
    """Uniform in a list or range, in the logarithm where the description says so."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(self, request: Request) -> Reply:
        document = {name: self._draw(part) for name, part in request.schema["properties"].items()}
        usage = Usage(prompt_tokens=0, completion_tokens=0, cost=0.0)
        return Reply(text=json.dumps(document), model="drawn", finish_reason="stop", usage=usage, latency=0.0)

    def _draw(self, part: Mapping[str, Any]) -> Any:
        if "enum" in part:
            return self._rng.choice(part["enum"])
        if "minimum" not in part:
            return "drawn at random"
        low, high = part["minimum"], part["maximum"]
        if low > 0 and "log scale" in part.get("description", ""):
            value = min(high, max(low, low * (high / low) ** self._rng.random()))
            return round(value) if part["type"] == "integer" else value
        return self._rng.randint(low, high) if part["type"] == "integer" else self._rng.uniform(low, high)


METHODS: Final[Mapping[str, Method]] = {
    "random": Method(sampler=_optuna(RandomSampler)),
    "qmc": Method(sampler=_optuna(QMCSampler, scramble=True), follows=True, needs=("scipy",)),
    "tpe": Method(sampler=_optuna(TPESampler)),
    "gp": Method(sampler=_optuna(GPSampler), needs=("torch", "scipy")),
    "cma": Method(sampler=_optuna(CmaEsSampler, warn_independent_sampling=False), needs=("cmaes",)),
    "tpe-early": Method(sampler=_optuna(TPESampler, n_startup_trials=3)),
    "gp-early": Method(sampler=_optuna(GPSampler, n_startup_trials=3), needs=("torch", "scipy")),
    "tpe-index": Method(sampler=_optuna(TPESampler), view=indexed),
    "gp-index": Method(sampler=_optuna(GPSampler), view=indexed, needs=("torch", "scipy")),
    "cma-index": Method(sampler=_optuna(CmaEsSampler, warn_independent_sampling=False), view=indexed, needs=("cmaes",)),
    "menu-no-model": Method(sampler=_llm("menu"), client=drawing_client, follows=True),
    "plain": _guided("plain"),
    "menu": _guided("menu"),
    "adaptive": _guided("adaptive"),
    "adaptive-no-in-flight": _guided("adaptive", ablation="no-in-flight", in_flight=0),
    "adaptive-no-facts": _guided("adaptive", ablation="no-facts"),
    "plain-no-facts": _guided("plain", ablation="no-facts"),
    "adaptive-anonymised": Method(sampler=_llm("adaptive"), view=anonymised, model=True, follows=True),
}
