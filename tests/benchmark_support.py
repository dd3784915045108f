"""A small task, its trials and the measures of its cells, for tests of the quality benchmark."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.quality.measures import Measured
from benchmarks.quality.replies import Totals
from benchmarks.quality.tasks.task import Evaluation, Params, Reference, Task

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 10.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "kind": CategoricalDistribution(("a", "b")),
}
RUN = ["--client", "fake", "--tasks", "synthetic/branin,synthetic/mixed", "--methods", "random,plain", "--no-plot"]
SMALL = [*RUN, "--trials", "3", "--seeds", "1", "--classical-seeds", "1"]


def task(space: Mapping[str, BaseDistribution] = SPACE, evaluate: Callable[[Params], Evaluation] | None = None) -> Task:
    return Task(
        name="made/up",
        suite="made",
        space=space,
        direction="minimize",
        evaluate=evaluate or (lambda params: Evaluation(value=1.0, seconds=2.0)),
        text="Words.",
        parameters=dict.fromkeys(space, "a meaning"),
        reference=Reference(best=0.0, median=2.0),
    )


def trial(
    number: int,
    x: float,
    *,
    value: float | None = 1.0,
    began: float = 0.0,
    ended: float = 1.0,
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    start = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    made = create_trial(
        state=TrialState.COMPLETE if value is not None else TrialState.FAIL,
        value=value,
        params={"x": x, "rate": 0.1, "kind": "a"},
        distributions=SPACE,
        user_attrs={"simulated_seconds": {"asked": began, "began": began, "ended": ended}, **(attributes or {})},
    )
    made.number = number
    made.datetime_start = start + timedelta(seconds=began)
    made.datetime_complete = start + timedelta(seconds=ended)
    return made


def cell(method: str, curve: Sequence[float | None], name: str = "s/t", seed: int = 0) -> Measured:
    return Measured(
        task=name,
        method=method,
        seed=seed,
        first=True,
        values=curve,
        best=curve,
        curve=curve,
        regret={},
        invalid=0,
        duplicates=0,
        repaired=None,
        near_in_flight=None,
        seconds=0.0,
        spent={name: 0 for name in Totals.__slots__ if name != "exchanges"},
    )
