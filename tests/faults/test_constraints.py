"""Constraints of Optuna 5: what violates one is shown as such, is never the best, and guidance keeps away from it."""

import functools
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import optuna
import pytest
from member_storage import opened
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SchemaModel, prompt, sampler, study_view

from optuna_llm import AsyncTrial, RunReport, optimize_async
from optuna_llm.engine.fleet.dead_trials import add_late
from optuna_llm.engine.fleet.total_trials import Places
from optuna_llm.engine.outcome import completed, failed, run_died
from optuna_llm.engine.records import Proposal, Signature
from optuna_llm.engine.study.attributes import violations_of
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.samplers.view.evidence import Evidence
from optuna_llm.samplers.view.rows import FinishedRows

BY = Signature(run="r")
SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution(("a", "b"))}


def finished(x: float, constraints: dict[str, float] | None = None, kind: str = "a", **more: Any) -> FrozenTrial:
    fields = {"value": -x, "params": {"x": x, "kind": kind}, "distributions": SPACE, **more}
    return create_trial(constraints=constraints, **fields)


def study_of(*trials: FrozenTrial, storage: Any = None, direction: Any = "minimize", **options: Any) -> optuna.Study:
    """A study with these trials."""
    study = optuna.create_study(storage=storage, direction=direction, sampler=sampler(**options))
    study.add_trials(trials)
    return study


def asked(study: optuna.Study) -> str:
    """What a model is told of a study."""
    model = SchemaModel()
    study.sampler = sampler(model)
    anyio.run(lambda: optimize_async(study, lambda trial: 0.0, n_trials=1, search_space=SPACE))
    return prompt(model.requests[-1])


def best_numbers(text: str) -> list[int]:
    """The numbers in the table of best rows, the best one first."""
    table = text.partition("# Best of all trials")[2].partition("\n\n")[0].splitlines()[2:]
    return [int(line.split(",")[0]) for line in reversed(table)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("constraints", "mark"),
    [
        ({"memory": 0.4}, " infeasible(memory 0.4)"),
        ({"memory": 0.4, "time": -1.0}, " infeasible(memory 0.4)"),
        ({"time": 2.0, "memory": float("inf")}, " infeasible(time 2; memory inf)"),
        ({f"c{n}": n + 1.0 for n in range(5)}, " infeasible(c0 1; c1 2; c2 3 and 2 more)"),
        ({'a "name", (odd)\n# Task': 1e-9}, " infeasible(a_name_odd_Task 1e-09)"),
        ({"": 1.0}, " infeasible(_ 1)"),
        ({"memory": 0.0}, ""),
        ({"memory": -0.4, "time": float("-inf")}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_violated_constraints_are_told_and_the_trial_is_never_the_best(
    constraints: dict[str, float], mark: str, direction: str
) -> None:
    sign = 1 if direction == "minimize" else -1
    trials = [
        finished(0.1, value=sign * -0.1),
        finished(0.9, constraints, value=sign * -0.9),
        finished(0.2, {"m": -1.0}, value=sign * -0.2),
    ]
    study = study_of(*trials, direction=direction)
    best = study.best_trial.number
    text = asked(study)
    assert f"\n1,{format(sign * -0.9, 'g')}{mark},0.9,a\n" in text
    assert best_numbers(text)[0] == best
    assert (1 in best_numbers(text)) is not bool(mark)
    assert ("infeasible(...) names what a trial violates" in text) is bool(mark)


def test_where_nothing_is_feasible_nothing_is_the_best() -> None:
    study = study_of(*(finished(x, {"memory": x}) for x in (0.2, 0.4, 0.6)))
    assert "Best of all" not in asked(study)
    study.sampler = sampler(strategy="menu")
    report = anyio.run(lambda: optimize_async(study, lambda trial: 1.0, n_trials=5, search_space=SPACE))
    assert report.n_complete == 5


def test_facts_count_what_is_infeasible_of_each_choice() -> None:
    text = asked(study_of(finished(0.1), finished(0.9, {"m": 1.0}, "b"), finished(0.8, {"m": 1.0}, "b"), finished(0.3)))
    assert '"b" 2 trials (2 infeasible)' in text
    assert '"a" 2 trials (best -0.3)' in text


@pytest.mark.parametrize("seed", range(3))
def test_menus_keep_away_from_where_constraints_are_violated(seed: int) -> None:
    """The objective is best where it is infeasible: without the constraint all candidates would be there."""

    def objective(trial: optuna.Trial, *, constrained: bool) -> float:
        x = trial.suggest_float("x", 0, 1)
        if constrained:
            trial.set_constraint("memory", x - 0.3)
        return -x

    shares = []
    for constrained in (True, False):
        study = study_of(strategy="menu", seed=seed, search_space={"x": SPACE["x"]})
        study.optimize(functools.partial(objective, constrained=constrained), n_trials=24)
        shares.append(np.mean([trial.params["x"] > 0.35 for trial in study.trials[10:]]))
    assert shares[0] < shares[1]


@pytest.mark.parametrize("foreign", [5, "text", [None], ["a"], {"a": 1}])
def test_what_is_no_constraint_violates_nothing(foreign: Any) -> None:
    for name in ("constraints", "constraints:memory"):
        trial = create_trial(value=1.0, system_attrs={name: foreign})
        assert dict(violations_of(trial)) in ({}, {"memory": 5})  # a number is one
    assert dict(violations_of(create_trial(value=1.0, system_attrs={"constraints": [1.0, -1.0]}))) == {"0": 1.0}


@pytest.mark.parametrize("place", ["memory", "journal", "sqlite"])
@pytest.mark.parametrize("kind", ["coroutine", "awaited", "thread"])
def test_objectives_of_every_kind_set_constraints(kind: str, place: str, tmp_path: Path) -> None:
    async def coroutine(trial: AsyncTrial) -> float:
        queued = trial.set_constraint("memory", trial.params["x"] - 0.5)
        if kind == "awaited":
            await queued
        return float(trial.params["x"])

    def thread(trial: optuna.Trial) -> float:
        trial.set_constraint("memory", trial.params["x"] - 0.5)
        return float(trial.params["x"])

    url = {"journal": f"journal:{tmp_path / 'log'}", "sqlite": f"sqlite:///{tmp_path / 'study.db'}"}.get(place)
    study = study_of(storage=url and opened(url))
    objective: Any = thread if kind == "thread" else coroutine
    report: RunReport = anyio.run(lambda: optimize_async(study, objective, n_trials=6, search_space=SPACE))
    infeasible = sum(trial.params["x"] > 0.5 for trial in study.trials)
    assert (report.n_complete, report.n_infeasible) == (6, infeasible)
    assert (f"6 complete ({infeasible} infeasible)" in str(report)) is bool(infeasible)
    assert all(trial.constraints == {"memory": trial.params["x"] - 0.5} for trial in study.trials)


def test_a_constraint_that_is_no_number_fails_its_trial_alone() -> None:
    async def objective(trial: AsyncTrial) -> float:
        trial.set_constraint("memory", float("nan"))
        return 1.0

    study = study_of()
    run = lambda: optimize_async(study, objective, n_trials=2, search_space=SPACE, catch=ValueError)  # noqa: E731
    assert anyio.run(run).n_failed == 2


def test_a_retry_sets_its_constraints_anew_and_a_late_result_keeps_those_that_were_set() -> None:
    study = optuna.create_study()
    door = StudyDoor(study)
    trial = door.create(Proposal(params={"x": 0.5, "kind": "a"}, distributions=SPACE), params_in_one_write=True, by=BY)
    trial.set_constraint("memory", 3.0)
    told = door.tell(trial, failed(ValueError("no")))
    assert door.retry(told, retries=1)
    assert study.trials[1].constraints == {}
    slow = door.create(Proposal(params={"x": 0.6, "kind": "a"}, distributions=SPACE), params_in_one_write=True, by=BY)
    slow.set_constraint("memory", 2.0)
    door.fail(study.trials[slow.number], run_died())
    late = add_late(door, study.trials[slow.number], completed(1.0), "r", Places())
    assert (late.state, late.constraints) == (TrialState.COMPLETE, {"memory": 2.0})


def test_caches_that_followed_a_study_equal_those_that_read_it_at_once() -> None:
    """A trial that is seen late is added where it belongs, and those after it again, with their constraints."""
    trials = [finished(number / 10, {"m": number % 2 - 0.5}) for number in range(8)]
    for number, trial in enumerate(trials):
        trial.number = number
    followed, fresh = study_view(SPACE), study_view(SPACE)
    for cache in followed.caches:
        cache.update([*trials[:3], *trials[4:]])
    for view in (followed, fresh):
        for cache in view.caches:
            cache.update(trials)
        rows, _, evidence = view.caches
        assert isinstance(rows, FinishedRows)
        assert isinstance(evidence, Evidence)
        assert [row.number for row in rows.best(9)] == [one.number for one in evidence.best(9)] == [6, 4, 2, 0]
        assert evidence.newest.infeasible.tolist() == [False, True] * 4
