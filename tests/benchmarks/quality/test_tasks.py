"""Regret, and the tasks that proposals are compared on."""

import math
from pathlib import Path
from typing import Any

import pytest
from benchmark_support import task
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.quality.experiment import BUILDERS
from benchmarks.quality.tasks import invented, learners, synthetic, systems, tables
from benchmarks.quality.tasks.draws import draws
from benchmarks.quality.tasks.task import Evaluation, Params, Reference, anonymised, indexed, regret


@pytest.mark.parametrize(
    ("value", "best", "median", "expected"),
    [(3.0, 1.0, 5.0, 0.5), (5.0, 1.0, 5.0, 1.0), (9.0, 1.0, 5.0, 2.0), (0.7, 0.9, 0.5, 0.5), (0.9, 0.9, 0.5, 0.0)],
)
def test_regret_is_the_distance_from_the_best_in_units_of_the_median(
    value: float, best: float, median: float, expected: float
) -> None:
    assert regret(value, Reference(best=best, median=median)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "reference"), [(0.5, Reference(best=1.0, median=2.0)), (3.0, Reference(best=2.0, median=1.0))]
)
def test_a_value_better_than_the_best_known_one_has_no_regret(value: float, reference: Reference) -> None:
    assert regret(value, reference) == 0.0


def test_a_task_without_a_difference_has_no_regret_or_an_infinite_one() -> None:
    flat = Reference(best=1.0, median=1.0)
    assert (regret(1.0, flat), regret(2.0, flat)) == (0.0, math.inf)


@pytest.mark.parametrize("name", [*synthetic.BUILDERS, *learners.BUILDERS])
def test_every_task_has_words_for_its_parameters_and_a_scale_for_regret(name: str) -> None:
    made = BUILDERS[name]()
    assert made.name == name
    assert made.parameters.keys() == made.space.keys()
    assert made.text
    assert made.reference.best != made.reference.median
    assert (made.reference.best < made.reference.median) == (made.direction == "minimize")


@pytest.mark.parametrize("name", ["kiln", "numbers", "branches"])
def test_the_best_of_an_invented_function_is_known_and_no_draw_is_better(name: str) -> None:
    made = BUILDERS[f"invented/{name}"]()
    better = max if made.direction == "maximize" else min
    values = [made.evaluate(params).value for params in draws(made.space, seed=1, count=300)]
    assert better(*values, made.reference.best) == made.reference.best


@pytest.mark.parametrize("name", [*invented.BUILDERS, *systems.BUILDERS])
def test_an_invented_task_has_one_value_for_a_configuration(name: str) -> None:
    made = BUILDERS[name]()
    assert made.reference.best != made.reference.median
    params = next(draws(made.space, seed=2))
    assert made.evaluate(params) == made.evaluate(params)
    assert made.parameters.keys() <= made.space.keys()


@pytest.mark.parametrize(
    ("name", "sensible", "careless"),
    [
        (
            "network",
            {
                "learning_rate": 0.05,
                "momentum": 0.9,
                "width": 32,
                "batch": 16,
                "weight_decay": 1e-4,
                "init": 1.0,
                "activation": "tanh",
            },
            {"learning_rate": 10.0, "momentum": 0.99},
        ),
        (
            "tiles",
            {"tile_m": 96, "tile_n": 64, "tile_k": 128, "unroll": 8, "threads": 8, "order": "ikj", "pack": True},
            {"tile_n": 5, "tile_k": 5, "threads": 1},
        ),
        (
            "tank",
            {"kp": 3.0, "ki": 0.03, "kd": 20.0, "filter": 5.0, "setpoint_weight": 0.7, "period": 2},
            {"kp": 100.0, "ki": 10.0},
        ),
        (
            "service",
            {"workers": 8, "batch": 16, "batch_wait": 30, "timeout": 5000, "retries": 2, "queue": 200},
            {"workers": 1, "timeout": 100},
        ),
    ],
)
def test_a_system_rewards_what_an_engineer_would_choose(
    name: str, sensible: dict[str, Any], careless: dict[str, Any]
) -> None:
    made = BUILDERS[f"systems/{name}"]()
    assert sensible.keys() == made.space.keys()
    worse = made.evaluate({**sensible, **careless}).value
    assert made.evaluate(sensible).value < made.reference.median
    assert made.evaluate(sensible).value < worse


def test_a_network_that_diverges_has_the_worst_loss_and_not_none() -> None:
    made = BUILDERS["systems/network"]()
    params = next(draws(made.space, seed=0))
    assert made.evaluate({**params, "learning_rate": 10.0, "momentum": 0.99, "init": 10.0}).value == systems.WORST_LOSS


@pytest.mark.parametrize("name", list(synthetic.BUILDERS))
def test_a_random_configuration_is_in_the_space_and_no_better_than_the_best(name: str) -> None:
    made = BUILDERS[name]()
    for params in draws(made.space, seed=1, count=50):
        assert all(kind._contains(kind.to_internal_repr(params[key])) for key, kind in made.space.items())
        evaluation = made.evaluate(params)
        assert evaluation.value >= made.reference.best
        assert evaluation == made.evaluate(params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("branin", {"x": math.pi, "y": 2.275}),
        ("mixed", {"learning_rate": 10**-2.5, "layers": 4, "dropout": 0.2, "optimizer": "adam"}),
        ("conditional", {"kernel": "rbf", "C": 10.0, "gamma": 0.01, "degree": 2, "coef0": 0.0}),
        ("valley", {"rate": 0.01, "steps": 100}),
    ],
)
def test_the_best_value_of_a_function_is_reached(name: str, params: dict[str, Any]) -> None:
    made = synthetic.BUILDERS[f"synthetic/{name}"]()
    assert made.evaluate(params).value == pytest.approx(made.reference.best, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], IntDistribution(1, 3)),
        ([2, 4, 6], IntDistribution(2, 6, step=2)),
        ([0.0, 0.3, 0.6], FloatDistribution(0.0, 0.6, step=0.3)),
        ([4, 6, 10], CategoricalDistribution((4, 6, 10))),
        ([0.1, 0.5, 1], CategoricalDistribution((0.1, 0.5, 1.0))),
        (["relu", "tanh"], CategoricalDistribution(("relu", "tanh"))),
    ],
)
def test_a_table_gets_the_distribution_that_holds_exactly_its_values(
    values: list[Any], expected: BaseDistribution
) -> None:
    assert tables.distribution(values) == expected


@pytest.mark.parametrize("name", ["hpobench/australian", "hpolib/naval_propulsion", "nas/cifar10"])
def test_every_configuration_of_a_table_can_be_evaluated(name: str) -> None:
    made = BUILDERS[name]()
    assert made.parameters.keys() == made.space.keys()
    for params in draws(made.space, seed=2, count=50):
        evaluation = made.evaluate(params)
        assert regret(evaluation.value, made.reference) >= 0
        assert evaluation.seconds > 0


def test_the_median_of_random_configurations_is_that_of_the_table() -> None:
    made = BUILDERS["nas/cifar10"]()
    regrets = [regret(made.evaluate(params).value, made.reference) for params in draws(made.space, seed=3, count=600)]
    assert 0.4 < sum(value <= 1 for value in regrets) / len(regrets) < 0.6


def test_an_anonymised_task_says_nothing_and_evaluates_the_same() -> None:
    seen: list[Params] = []

    def evaluate(params: Params) -> Evaluation:
        seen.append(params)
        return Evaluation(value=1.0, seconds=1.0)

    hidden = anonymised(task(evaluate=evaluate))
    params = {"x": 1.0, "rate": 0.5, "kind": "b"}
    assert hidden.encode(params) == {"x1": 1.0, "x2": 0.5, "x3": "b"}
    assert list(hidden.space) == ["x1", "x2", "x3"]
    assert (hidden.text, dict(hidden.parameters)) == ("", {})
    hidden.evaluate(hidden.encode(params))
    assert seen == [params]


def test_an_indexed_task_gives_ordinal_choices_as_integers() -> None:
    space = {"batch": CategoricalDistribution((4, 6, 10)), "kind": CategoricalDistribution(("a", "b"))}
    seen: list[Params] = []
    made = indexed(task(space, lambda params: seen.append(params) or Evaluation(value=1.0, seconds=1.0)))  # type: ignore[func-returns-value]
    assert made.space == {"batch": IntDistribution(0, 2), "kind": space["kind"]}
    assert made.encode({"batch": 10, "kind": "b"}) == {"batch": 2, "kind": "b"}
    made.evaluate({"batch": 1, "kind": "a"})
    assert seen == [{"batch": 6, "kind": "a"}]


def test_a_learner_is_cross_validated_once_and_has_one_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(learners.CACHE.store_backend, "location", str(tmp_path))
    params = next(draws(learners.TREE, seed=0))
    first = learners.cross_validate("DT", "iris", params)
    assert learners.cross_validate.check_call_in_cache("DT", "iris", params)
    assert learners.cross_validate("DT", "iris", params) == first
    assert 0 <= first.value <= 1
    assert learners.cross_validate.call("DT", "iris", params)[0].value == first.value
