"""Studies that converge: however crowded the best place is, a menu offers what the study does not have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from support import SchemaModel, sampler

from optuna_llm import Reply, Request, RunReport, optimize_async


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An objective with the space that it suggests from; of a conditional one a trial suggests only a part.

    What a branch has is known from its first finished trial: two that are under way before may be the same in it.
    """

    space: Mapping[str, BaseDistribution]
    objective: Callable[[optuna.Trial], float]
    conditional: bool = False


class First(SchemaModel):
    """A model that takes what is offered first, and else draws at random."""

    def __call__(self, request: Request) -> Reply:
        reply = super().__call__(request)
        return Reply(text='{"rationale": "", "candidate": 1}') if "candidate" in self.documents[-1] else reply


def numbers(count: int) -> dict[str, BaseDistribution]:
    return {f"x{n}": FloatDistribution(0, 1) for n in range(count)}


def bowl(params: Mapping[str, Any], names: str) -> float:
    return float(sum((value - 0.4) ** 2 for name, value in params.items() if name[0] in names))


def branches(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("kind", ("a", "b")) == "a":
        return trial.suggest_float("u", 0, 1) + trial.suggest_float("v", 0, 1)
    return 1 + trial.suggest_float("w", 0, 1)


TASKS = {
    "corner": Task(space=numbers(10), objective=lambda trial: sum(trial.params.values())),
    "edge": Task(
        space={"edge": FloatDistribution(0, 1), **numbers(9)},
        objective=lambda trial: trial.params["edge"] + bowl(trial.params, "x"),
    ),
    "grid": Task(
        space={**{f"g{n}": FloatDistribution(0, 1, step=0.1) for n in range(3)}, "n": IntDistribution(1, 30)},
        objective=lambda trial: bowl(trial.params, "g") + (trial.params["n"] - 10) ** 2 / 900,
    ),
    "ties": Task(
        space={**numbers(3), "c": CategoricalDistribution(("a", "b", "c"))},
        objective=lambda trial: round(bowl(trial.params, "x"), 1),
    ),
    "conditional": Task(
        space={
            "kind": CategoricalDistribution(("a", "b")),
            "u": FloatDistribution(0, 1),
            "v": FloatDistribution(0, 1),
            "w": FloatDistribution(0, 1),
        },
        objective=branches,
        conditional=True,
    ),
}


def run(task: Task, strategy: str, trials: int) -> RunReport:
    """The report of a study with eight workers."""
    declared: dict[str, Any] = {"search_space": task.space}
    own, engine = (declared, {}) if task.conditional else ({}, declared)
    study = optuna.create_study(sampler=sampler(First(), strategy=strategy, seed=0, **own))

    async def objective(trial: Any) -> float:
        return task.objective(trial)

    return anyio.run(lambda: optimize_async(study, objective, n_trials=trials, n_workers=8, **engine))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["menu", "adaptive"])
@pytest.mark.parametrize("name", TASKS)
def test_a_study_that_converges_is_offered_nothing_that_it_has(name: str, strategy: str) -> None:
    task = TASKS[name]
    report = run(task, strategy, 300)
    assert report.n_complete == 300
    assert report.duplicates <= (0.01 * 300 if task.conditional else 0)
    assert report.llm_calls <= 1.03 * 300


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["menu", "adaptive"])
def test_in_a_corner_thousands_of_trials_are_still_new(strategy: str) -> None:
    report = run(TASKS["corner"], strategy, 3000)
    assert (report.n_complete, report.duplicates) == (3000, 0)
    assert report.llm_calls <= 1.03 * 3000
