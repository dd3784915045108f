"""Models for tests: answers made from the request's own schema, and a record of what was asked."""

import json
import random
import threading
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study, StudyDirection

from optuna_llm import FunctionClient, LLMGuidedSampler, Reply, Request, Usage
from optuna_llm.engine import Optimizer
from optuna_llm.engine.study.patience import RetryPolicy
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.view import StudyView
from optuna_llm.workers import default_workers

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 1.0, step=0.1),
    "layers": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(("adam", "sgd", None)),
}
USAGE = Usage(prompt_tokens=100, completion_tokens=10, cached_tokens=5, cost=0.001)


def answer(schema: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """A document that the schema allows, drawn at random."""
    return {name: _value(part, rng) for name, part in schema["properties"].items()}


def _value(part: Mapping[str, Any], rng: random.Random) -> Any:
    if "enum" in part:
        return rng.choice(part["enum"])
    if part["type"] == "integer":
        return rng.randint(part["minimum"], part["maximum"])
    if part["type"] == "number":
        return rng.uniform(part["minimum"], part["maximum"])
    return "because"


def study_view(
    space: Mapping[str, BaseDistribution] = SPACE, direction: StudyDirection = StudyDirection.MINIMIZE
) -> StudyView:
    """What is known of a study that nobody has looked at."""
    return StudyView(make_space(space), direction)


class SchemaModel:
    """A model that answers every schema, and remembers requests and replies."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self.requests: list[Request] = []
        self.documents: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        document = answer(request.schema, self._rng)
        self.requests.append(request)
        self.documents.append(document)
        return Reply(text=json.dumps(document), model="test-model", finish_reason="stop", usage=USAGE, latency=0.25)

    @property
    def prompts(self) -> list[str]:
        return [prompt(request) for request in self.requests]


class Script:
    """A model that gives the answers of a list, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Any:
        with self._lock:
            self.requests.append(request)
            given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, BaseException):
            raise given
        return given(request) if callable(given) else given


def prompt(request: Request) -> str:
    """All the text of a request."""
    return "\n".join(message["content"] for message in request.messages)


def sampler(model: Any = None, **options: Any) -> LLMGuidedSampler:
    """A sampler around a model of this file."""
    return LLMGuidedSampler(FunctionClient(SchemaModel() if model is None else model), **options)


def llm_sampler(study: Study) -> LLMGuidedSampler:
    """The sampler of a study, which is one of ours."""
    assert isinstance(study.sampler, LLMGuidedSampler)
    return study.sampler


def optimize_with(**policy: float) -> Any:
    """`optimize_async` with a retry policy of its own for storage calls."""
    return Optimizer(default_workers, RetryPolicy(**policy)).optimize_async
