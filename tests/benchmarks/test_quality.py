"""The quality benchmark: its arithmetic by hand-computed numbers, its tasks, and runs small enough for every day."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm import LiteLLMClient, Request
from optuna_llm.samplers.guidance import Guidance, Situation
from optuna_llm.samplers.space.axes import Axes, Choices
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # scripts, not a package

import learners
import synthetic
import tables
from cells import Cell, continued, first_configuration
from comparison import (
    Interval,
    Regrets,
    bootstrap,
    common_tasks,
    mean_ranks,
    overall,
    paired,
    ranks,
    shared,
    task_means,
    wilcoxon,
)
from draws import draws
from measures import Measured, best_so_far, duplicates, measure, near, near_in_flight
from methods import METHODS, Drawing, drawing_client
from quality import BUILDERS, Outcome, baseline, main, selected, shown, unable
from quality_plot import curves, suites
from quality_report import checkpoints_of, regrets_at, report
from replies import Counted, Totals, totals
from simulated import Simulation, Times
from strategies import ABLATIONS
from tasks import Evaluation, Params, Reference, Task, anonymised, indexed, regret

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 10.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "kind": CategoricalDistribution(("a", "b")),
}
REGRETS: Regrets = {
    ("t1", "one", 0): 0.1,
    ("t1", "one", 1): 0.3,
    ("t1", "two", 0): 0.4,
    ("t2", "one", 0): 0.8,
    ("t2", "two", 0): 0.4,
    ("t3", "one", 0): 0.0,
}


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


# -- regret


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


def test_best_so_far_follows_the_direction_and_skips_failures() -> None:
    values = [None, 3.0, 4.0, None, 2.0]
    assert best_so_far(values, "minimize") == [None, 3.0, 3.0, 3.0, 2.0]
    assert best_so_far(values, "maximize") == [None, 3.0, 4.0, 4.0, 4.0]


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=20))
def test_regret_of_the_best_so_far_never_grows(values: list[float | None]) -> None:
    best = best_so_far(values, "minimize")
    curve = [regret(value, Reference(best=-10.0, median=5.0)) for value in best if value is not None]
    assert curve == sorted(curve, reverse=True)


# -- comparison


def test_the_mean_of_a_method_counts_each_common_task_alike() -> None:
    assert task_means(REGRETS)["t1"] == pytest.approx({"one": 0.2, "two": 0.4})
    assert common_tasks(REGRETS) == ["t1", "t2"]
    assert overall(REGRETS) == pytest.approx({"one": 0.5, "two": 0.4})


def test_shared_are_the_seeds_of_each_task_that_all_methods_have() -> None:
    assert shared(REGRETS) == {key: REGRETS[key] for key in REGRETS if key[0] in ("t1", "t2") and key[2] == 0}
    assert shared({("t", "one", 0): 0.1, ("t", "two", 1): 0.2}) == {}


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks({"a": 0.1, "b": 0.2, "c": 0.1, "d": 0.0}) == {"a": 2.5, "b": 4.0, "c": 2.5, "d": 1.0}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 10), min_size=1, max_size=8))
def test_ranks_always_have_the_same_sum(values: dict[str, float]) -> None:
    n = len(values)
    assert sum(ranks(values).values()) == pytest.approx(n * (n + 1) / 2)


def test_the_mean_rank_is_over_common_tasks() -> None:
    assert mean_ranks(REGRETS) == {"one": 1.5, "two": 1.5}


def test_pairs_are_cells_of_the_same_task_and_seed() -> None:
    found = paired(REGRETS, "one", "two")
    assert (found.pairs, found.wins, found.losses) == (2, 1, 1)
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.05)
    assert paired(REGRETS, "one", "three").p is None


def test_each_task_counts_alike_in_a_comparison_of_two_methods() -> None:
    regrets = {("a", "one", seed): 0.0 for seed in range(3)} | {("a", "two", seed): 3.0 for seed in range(3)}
    found = paired(regrets | {("b", "one", 0): 2.0, ("b", "two", 0): 1.0}, "one", "two")
    assert found.difference is not None
    assert (found.tasks, found.pairs, found.wins, found.losses, found.difference.mean) == (2, 4, 3, 1, -1.0)


def test_pairs_of_a_task_are_no_more_evidence_than_tasks_are() -> None:
    regrets = {(name, "two", seed): 1.0 for name in "abcdef" for seed in range(5)}
    regrets |= {(name, "one", seed): 0.5 - ord(name) / 1000 - seed / 100 for name in "abcdef" for seed in range(5)}
    found = paired(regrets, "one", "two")
    assert found.p is not None
    assert found.p < 1e-6
    assert found.p_tasks == pytest.approx(2 / 2**6)


def test_wilcoxon_is_the_exact_test_for_few_pairs() -> None:
    assert wilcoxon([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]) == pytest.approx(2 / 2**6)
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_the_bootstrap_interval_holds_the_mean_and_follows_from_its_seed() -> None:
    found = bootstrap([[0.0, 1.0], [2.0, 3.0]], resamples=500)
    assert found.mean == 1.5
    assert 0.0 <= found.low < 1.5 < found.high <= 3.0
    assert found == bootstrap([[0.0, 1.0], [2.0, 3.0]], resamples=500)
    assert bootstrap([[2.0, 2.0], [2.0]]) == Interval(mean=2.0, low=2.0, high=2.0)


def test_seeds_of_a_task_are_resampled_within_it() -> None:
    tasks = bootstrap([[0.0] * 50, [1.0] * 50], resamples=500)
    assert (tasks.low, tasks.high) == (0.0, 1.0)
    seeds = bootstrap([[0.0, 1.0] * 50], resamples=500)
    assert 0.3 < seeds.low < 0.5 < seeds.high < 0.7


# -- measures


def test_nearness_is_measured_on_the_scale_of_each_float() -> None:
    here = {"x": 5.0, "rate": 1e-2, "kind": "a"}
    assert near(here, {**here, "x": 5.4}, SPACE, 0.05)
    assert not near(here, {**here, "x": 5.6}, SPACE, 0.05)
    assert near(here, {**here, "rate": 1.5e-2}, SPACE, 0.05)
    assert not near(here, {**here, "rate": 2e-2}, SPACE, 0.05)
    assert not near(here, {**here, "kind": "b"}, SPACE, 0.05)


def test_duplicates_repeat_an_earlier_configuration() -> None:
    here = {"x": 5.0, "rate": 1e-2, "kind": "a"}
    assert duplicates([here, {**here, "x": 5.005}, {**here, "x": 6.0}, here], SPACE) == 2


def test_only_what_runs_when_a_trial_is_created_is_in_flight() -> None:
    trials = [
        trial(0, 5.0, began=0, ended=10),
        trial(1, 5.2, began=1, ended=3),
        trial(2, 9.0, began=4, ended=5),
        trial(3, 5.1, began=10, ended=12),
    ]
    assert near_in_flight(trials, SPACE) == [True, False]


def test_a_cell_is_measured_from_its_trials_and_its_replies() -> None:
    llm = {"calls": 1, "repairs": ["x clamped"]}
    trials = [
        trial(0, 1.0, value=3.0),
        trial(1, 2.0, value=None, attributes={"llm": {"calls": 1, "repairs": []}}),
        trial(2, 3.0, value=1.0, began=5, ended=9, attributes={"llm": llm}),
    ]
    found = measure("t", "m", 4, trials, task(), totals=Totals(calls=5, exchanges=3, reasks=2), first=True)
    assert found.values == [3.0, None, 1.0]
    assert found.curve == [1.5, 1.5, 0.5]
    assert (found.invalid, found.repaired, found.seconds) == (1, 0.5, 9.0)
    assert Measured.of(json.loads(json.dumps(found.record()))) == found


def test_the_replies_on_file_say_what_asking_took(tmp_path: Path) -> None:
    path = tmp_path / "recording-1.jsonl"
    first: dict[str, Any] = {"messages": [{}, {}]}
    again: dict[str, Any] = {"messages": [{}, {}, {}, {}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4, "cost": 0.5}
    events = [
        {"kind": "header"},
        {"event": "request", "id": 1, "request": first},
        {"event": "reply", "id": 1, "reply": {"usage": usage, "latency": 1.5}},
        {"event": "request", "id": 2, "request": again},
        {"event": "reply", "id": 2, "reply": {"usage": usage, "latency": 0.5}},
        {"event": "request", "id": 3, "request": first},
        {"event": "error", "id": 3, "error": {}},
    ]
    whole = "".join(json.dumps(event) + "\n" for event in events)
    path.write_text(whole + '{"event": "reply", "id": 3, "cut', encoding="ascii")
    assert totals([path]) == Totals(
        calls=3,
        exchanges=1,
        reasks=1,
        prompt_tokens=20,
        completion_tokens=4,
        cached_tokens=8,
        cost=1.0,
        latency=2.0,
    )


def test_a_counted_client_takes_menus_if_what_it_wraps_does() -> None:
    assert Counted(drawing_client(0)).schema_per_ask
    assert not Counted(LiteLLMClient("openai/gpt-5-mini")).schema_per_ask


# -- tasks


@pytest.mark.parametrize("name", [*synthetic.BUILDERS, *learners.BUILDERS])
def test_every_task_has_words_for_its_parameters_and_a_scale_for_regret(name: str) -> None:
    made = BUILDERS[name]()
    assert made.name == name
    assert made.parameters.keys() == made.space.keys()
    assert made.text
    assert made.reference.best != made.reference.median
    assert (made.reference.best < made.reference.median) == (made.direction == "minimize")


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


def test_the_first_configuration_follows_from_task_and_seed() -> None:
    made = task()
    assert first_configuration(made, 1) == first_configuration(made, 1) != first_configuration(made, 2)


# -- methods


class Whole:
    """A strategy that says everything, and remembers what it was told."""

    name = "whole"

    def __init__(self) -> None:
        self.situations: list[Situation] = []

    def guide(self, situation: Situation) -> Guidance:
        self.situations.append(situation)
        region = {"x": Choices(values=(1.0,))}
        return Guidance(strategy=self.name, summary=("effects",), words="here", menu={"x": [1.0]}, region=region)


@pytest.mark.parametrize(
    ("ablation", "in_flight", "said"),
    [
        ("no-in-flight", [], {}),
        ("no-summary", [{"x": 1.0}], {"summary": ()}),
        ("no-regions", [{"x": 1.0}], {"words": "", "menu": {}, "region": {}}),
    ],
)
def test_an_ablation_takes_away_one_part(ablation: str, in_flight: list[Params], said: dict[str, Any]) -> None:
    whole, space = Whole(), make_space(SPACE)
    situation = Situation(
        space=space,
        direction=StudyDirection.MINIMIZE,
        evidence=Evidence(Axes(space), StudyDirection.MINIMIZE),
        in_flight=[{"x": 1.0}],
        ordinal=7,
    )
    strategy = ABLATIONS[ablation](whole)
    everything = whole.guide(situation)
    assert strategy.guide(situation) == replace(everything, **said)
    assert (list(whole.situations[-1].in_flight), whole.situations[-1].ordinal) == (in_flight, 7)
    assert strategy.name == f"whole-{ablation}"


def test_the_stand_in_for_a_model_draws_from_the_schema_on_its_scale() -> None:
    number = {"type": "number", "minimum": 1e-4, "maximum": 1.0, "description": "a number, log scale"}
    properties = {
        "rationale": {"type": "string"},
        "rate": number,
        "n": {"type": "integer", "minimum": 1, "maximum": 3},
        "menu": {"type": "number", "enum": [0.1, 0.2]},
        "kind": {"type": "string", "enum": ["a", "b"]},
    }
    model = Drawing(0)
    answers = [json.loads(model(Request(messages=[], schema={"properties": properties})).text) for _ in range(400)]
    assert all(answer.keys() == properties.keys() for answer in answers)
    assert {answer["n"] for answer in answers} == {1, 2, 3}
    assert {answer["menu"] for answer in answers} == {0.1, 0.2}
    assert 0.4 < sum(answer["rate"] < 1e-2 for answer in answers) / 400 < 0.6


def test_every_method_that_is_said_to_exist_does() -> None:
    optuna = {"random", "tpe", "gp", "cma", "qmc", "tpe-index", "gp-index", "cma-index"}
    controls = {"menu-no-model"}
    llm = {"plain", "guided", "menu", "adaptive", "adaptive-anonymised", *(f"adaptive-{name}" for name in ABLATIONS)}
    assert METHODS.keys() == optuna | controls | llm
    assert {name for name, method in METHODS.items() if method.model} == llm


def test_what_cannot_run_here_says_what_it_needs() -> None:
    cannot = unable(["random", "plain"], model=False)
    assert list(cannot) == ["plain"]
    assert "--client" in cannot["plain"]


def test_what_cannot_run_here_is_no_failure(tmp_path: Path) -> None:
    outcome = main(["--tasks", "synthetic/branin", "--methods", "plain", "--no-plot", "--out", str(tmp_path)])
    assert (list(outcome.failures), outcome.status) == (["plain"], 0)


def test_the_adaptive_method_is_compared_with_the_others_where_there_is_one() -> None:
    assert baseline(["random", "plain", "adaptive"]) == "adaptive"
    assert baseline(["random", "plain"]) == "plain"
    assert baseline(["random"]) == "random"
    assert baseline([]) is None


# -- the simulated clock


async def simulate(seconds: list[float], workers: int, latency: float = 0.0) -> list[Times]:
    """The times of evaluations in the order in which they ended, each begun by a worker as soon as it is free."""
    simulation = Simulation(workers, len(seconds))
    left = list(seconds)
    ended: list[Times] = []

    async def worker() -> None:
        while left:
            ended.append(await simulation.spend(latency, left.pop(0)))

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(worker)
    return ended


def test_evaluations_end_in_the_order_of_their_seconds() -> None:
    ended = anyio.run(simulate, [5.0, 1.0, 3.0, 1.0], 2)
    assert ended == [
        Times(asked=0.0, began=0.0, ended=1.0),
        Times(asked=1.0, began=1.0, ended=4.0),
        Times(asked=0.0, began=0.0, ended=5.0),
        Times(asked=4.0, began=4.0, ended=5.0),
    ]


def test_one_worker_takes_the_sum_of_latencies_and_seconds() -> None:
    assert anyio.run(simulate, [2.0, 3.0, 4.0], 1, 0.5)[-1].ended == 2.0 + 3.0 + 4.0 + 3 * 0.5


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12), st.integers(1, 4))
def test_the_simulated_end_is_that_of_a_greedy_schedule(seconds: list[float], workers: int) -> None:
    free = [0.0] * workers
    for duration in seconds:
        free.sort()
        free[0] += duration
    ended = anyio.run(simulate, seconds, workers)
    assert max(times.ended for times in ended) == pytest.approx(max(free))


def test_whoever_waits_is_let_go_if_no_other_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulated.STALL_SECONDS", 0.0)
    monkeypatch.setattr("simulated.POLL_SECONDS", 0.001)

    async def alone() -> Times:
        return await Simulation(3, 10).spend(0.0, 7.0)

    assert anyio.run(alone).ended == 7.0


# -- report and pictures


def test_the_report_holds_means_ranks_pairs_and_what_was_not_measured() -> None:
    measured = [cell("random", [1.0] * 4 + [0.5] * 4), cell("plain", [0.8] * 4 + [0.25] * 4)]
    text = report(measured, baseline="plain", heading="Heading", failures={"gp": "it needs torch"})
    assert checkpoints_of(measured) == [5, 8]
    assert text.startswith("# Heading\n")
    assert "| plain | 0.250 | 0.250 |" in text
    assert "| random | 2.00 | 2.00 |" in text
    assert "| random | 1 | 1 | 1 | 0 | -0.250 | -0.250 to -0.250 | 1 | 1 |" in text
    assert "- gp: it needs torch" in text


def test_a_report_compares_methods_on_the_seeds_that_all_have_too() -> None:
    measured = [cell("random", [0.8 - 0.2 * seed], seed=seed) for seed in range(4)] + [cell("plain", [0.6])]
    text = report(measured, baseline="plain", heading="Heading", failures={})
    assert "| over 1 task, 1 to 4 seeds of each, after trials | 1 |" in text
    assert "| random | 0.500 |" in text
    _, same = text.split("## On the same seeds")
    assert "| over 1 task, 1 seed of each, after trials | 1 |" in same
    assert "| random | 0.800 |" in same
    assert "| plain | 1.00 |" in same
    assert "same seeds" not in report(measured[3:], baseline="plain", heading="", failures={})
    assert "same seeds" not in report([measured[0], measured[-1]], baseline="plain", heading="", failures={})


def test_a_report_of_nothing_says_why() -> None:
    assert "- cell: it broke" in report([], baseline=None, heading="None", failures={"cell": "it broke"})


NEVER = [None, None]


@pytest.mark.parametrize("without", [NEVER, [math.inf, math.inf], []])
def test_a_cell_without_a_value_counts_as_the_worst_of_its_task(without: list[float | None]) -> None:
    measured = [cell("a", [0.9, 0.1]), cell("b", [0.5, 0.4]), cell("b", without, seed=1), cell("a", [9.0, 9.0], "s/u")]
    found = regrets_at(measured, 2)
    assert (found["s/t", "b", 1], len(found)) == (0.4, 4)
    assert regrets_at(measured, 1)["s/t", "b", 1] == 0.9


def test_a_cell_that_ended_early_keeps_its_best() -> None:
    assert regrets_at([cell("a", [0.9, 0.6]), cell("b", [0.2] * 5)], 5)["s/t", "a", 0] == 0.6


def test_a_cell_that_failed_counts_only_where_its_method_has_another() -> None:
    measured = [cell("a", [0.3]), cell("b", [0.2])]
    failed = [("s/t", "b", 1), ("s/t", "c", 0), ("s/u", "a", 0)]
    assert regrets_at(measured, 1, failed) == {("s/t", "a", 0): 0.3, ("s/t", "b", 0): 0.2, ("s/t", "b", 1): 0.3}
    text = report(measured, baseline=None, heading="Heading", failures={}, failed=failed)
    assert "| b | 0.250 |" in text


def test_a_task_without_any_value_is_left_out() -> None:
    assert regrets_at([cell("a", NEVER), cell("b", [math.inf, math.inf], "s/u")], 2) == {}


def test_an_infinite_regret_makes_no_mean_meaningless() -> None:
    curves = {"a": [math.inf, math.inf], "b": [math.inf, 0.0]}
    measured = [cell(name, curve, task) for name, curve in curves.items() for task in ("s/t", "s/u")]
    text = report([*measured, cell("c", [0.5, 0.5])], baseline="a", heading="Heading", failures={})
    assert "nan" not in text
    assert "inf" not in text.replace("infinite", "")


def test_curves_are_means_over_tasks_by_suite() -> None:
    measured = [cell("m", [1.0, 0.5], "a/x"), cell("m", [0.0, 0.0], "b/y")]
    assert curves(measured) == {"m": [(1, 0.5), (2, 0.25)]}
    assert list(suites(measured)) == ["a", "b", "mean"]


# -- whole runs

RUN = ["--client", "fake", "--tasks", "synthetic/branin,synthetic/mixed", "--methods", "random,plain", "--no-plot"]
SMALL = [*RUN, "--trials", "3", "--seeds", "1", "--classical-seeds", "1"]


def run(out: Path, *more: str) -> Outcome:
    return main([*SMALL, "--out", str(out), *more])


def values(outcome: Outcome) -> dict[tuple[str, str], list[float | None]]:
    return {(cell.task, cell.method): list(cell.values) for cell in outcome.measured}


def test_a_run_measures_every_cell_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path)
    assert (first.evaluated, dict(first.failures)) == (4, {})
    assert all(len(cell.values) == 3 for cell in first.measured)
    assert all(
        cell.values[0] == other.values[0]
        for cell in first.measured
        for other in first.measured
        if cell.task == other.task
    )
    again = run(tmp_path)
    assert again.evaluated == 0
    assert again.measured == first.measured
    longer = run(tmp_path, "--trials", "5")
    assert longer.evaluated == 4
    assert all(values(longer)[key][:3] == found for key, found in values(first).items())
    text = (tmp_path / "report-first.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "## plain against the others, after 5 trials" in text
    lines = (tmp_path / "results-first.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Measured.of(json.loads(line)) for line in lines] == list(longer.measured)


DRAWING = ["--methods", "random,qmc,cma,menu-no-model,plain", "--tasks", "synthetic/branin", "--no-first"]


def test_a_continued_cell_draws_anew(tmp_path: Path) -> None:
    pytest.importorskip("cmaes")
    first = run(tmp_path, *DRAWING)
    longer = run(tmp_path, *DRAWING, "--trials", "6")
    assert dict(longer.failures) == {}
    assert all(values(longer)[key][:3] == found for key, found in values(first).items())
    assert all(len(set(found)) == 6 for found in values(longer).values())


def test_a_sequence_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sequence = ["--methods", "qmc", "--tasks", "synthetic/mixed"]
    run(tmp_path, *sequence)
    longer = run(tmp_path, *sequence, "--trials", "6")
    assert values(longer) == values(run(tmp_path / "unbroken", *sequence, "--trials", "6"))


def test_only_a_study_that_goes_on_gets_another_seed() -> None:
    assert continued(7, 0) == 7
    assert len({continued(seed, drawn) for seed in range(20) for drawn in range(20)}) == 400


def test_the_stand_in_for_a_model_draws_by_cell(tmp_path: Path) -> None:
    seeds = ["--methods", "plain", "--seeds", "2", "--no-first"]
    whole = run(tmp_path / "whole", *seeds)
    alone = run(tmp_path / "alone", *seeds, "--tasks", "synthetic/mixed")
    assert list(alone.measured) == [cell for cell in whole.measured if cell.task == "synthetic/mixed"]
    assert alone.measured[0].values != alone.measured[1].values


def test_a_deleted_study_is_replayed_from_its_recording(tmp_path: Path) -> None:
    first = run(tmp_path)
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, "--replay")
    assert (again.evaluated, dict(again.failures)) == (4, {})
    assert again.measured == first.measured
    assert len(list(tmp_path.rglob("recording-*.jsonl"))) == 2


def test_a_study_that_went_on_is_replayed_whole(tmp_path: Path) -> None:
    methods = ["--methods", "plain,menu"]
    run(tmp_path, *methods)
    longer = run(tmp_path, *methods, "--trials", "6")
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, *methods, "--trials", "6", "--replay")
    assert dict(again.failures) == {}
    assert values(again) == values(longer)


def test_a_deleted_study_that_is_not_replayed_has_only_its_own_replies(tmp_path: Path) -> None:
    methods = ["--methods", "plain,menu-no-model"]
    first = run(tmp_path, *methods)
    for path in tmp_path.rglob("study.journal*"):
        path.unlink()
    again = run(tmp_path, *methods)
    assert again.evaluated == 4
    spending = [(cell.invalid, cell.spent["calls"]) for cell in first.measured]
    assert [(cell.invalid, cell.spent["calls"]) for cell in again.measured] == spending
    assert len(list(tmp_path.rglob("earlier-1/recording-1.jsonl"))) == 4


def test_without_a_common_first_configuration_there_is_a_table_of_its_own(tmp_path: Path) -> None:
    first, other = run(tmp_path), run(tmp_path, "--no-first")
    assert other.evaluated == 4
    assert values(other) != values(first)
    calls = {cell.method: cell.spent["calls"] for cell in other.measured}
    assert calls == {"random": 0, "plain": 3}
    assert (tmp_path / "report-no-first.md").exists()


def test_cells_of_another_model_or_number_of_workers_belong_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    for other in (["--workers", "2"], ["--client", "openai/other"]):
        with pytest.raises(SystemExit):
            run(tmp_path, *other)
        assert "another --out" in capsys.readouterr().err
    assert run(tmp_path).evaluated == 0


def test_a_longer_cell_is_not_measured_as_a_shorter_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        run(tmp_path, "--trials", "2")
    assert "holds cells of 3 trials: choose another --out for --trials 2" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert run(tmp_path, "--tasks", "synthetic/valley", "--trials", "2").failures == {}


def test_a_longer_study_is_not_measured_as_a_shorter_one(tmp_path: Path) -> None:
    run(tmp_path)
    for path in tmp_path.rglob("measured.json"):
        path.unlink()
    outcome = run(tmp_path, "--trials", "2")
    assert all("holds 3 trials" in why for why in outcome.failures.values())
    assert (len(outcome.failures), list(tmp_path.rglob("measured.json"))) == (4, [])


def test_a_cell_that_stops_early_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two() -> Task:
        return replace(task({"n": IntDistribution(1, 2)}), name="synthetic/branin")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", two)
    outcome = run(tmp_path, "--tasks", "synthetic/branin", "--methods", "plain")
    assert list(outcome.failures.values()) == ["it ended after 2 of 3 trials"]
    assert outcome.status == 0
    assert [len(cell.values) for cell in outcome.measured] == [2]


def test_no_folder_of_this_machine_is_on_record() -> None:
    assert shown("local:/home/me/model.gguf") == "local:model.gguf"
    assert (shown("openai/gpt-5-mini"), shown(None)) == ("openai/gpt-5-mini", None)


def test_several_workers_see_each_others_configurations_in_flight(tmp_path: Path) -> None:
    outcome = run(tmp_path, "--workers", "2", "--trials", "6")
    assert dict(outcome.failures) == {}
    assert all(cell.near_in_flight is not None for cell in outcome.measured)
    one = run(tmp_path / "one", "--trials", "6")
    assert all(cell.near_in_flight is None for cell in one.measured)
    assert all(fast.seconds < slow.seconds for fast, slow in zip(outcome.measured, one.measured, strict=True))


def test_a_cell_that_fails_is_reported_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Task:
        raise RuntimeError("no such table")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", broken)
    outcome = run(tmp_path)
    assert len(outcome.measured) == 2
    assert set(outcome.failures.values()) == {"RuntimeError: no such table"}
    assert [(cell.task, cell.method) for cell in outcome.failed] == [
        ("synthetic/branin", "random"),
        ("synthetic/branin", "plain"),
    ]
    assert outcome.status == 1


def test_an_evaluation_that_fails_is_a_trial_without_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(params: Params) -> Evaluation:
        raise ValueError("diverged")

    monkeypatch.setitem(BUILDERS, "synthetic/branin", lambda: replace(task(evaluate=evaluate), name="synthetic/branin"))
    outcome = main([*SMALL, "--tasks", "synthetic/branin", "--methods", "random", "--out", str(tmp_path)])
    assert [list(cell.values) for cell in outcome.measured] == [[None, None, None]]
    assert main([*SMALL, "--tasks", "synthetic/branin", "--methods", "random", "--out", str(tmp_path)]).evaluated == 0


def test_pictures_are_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    main([argument for argument in SMALL if argument != "--no-plot"] + ["--out", str(tmp_path)])
    assert (tmp_path / "first" / "regret-synthetic.png").stat().st_size > 1000


@pytest.mark.parametrize("wrong", [["--tasks", "none/such"], ["--methods", "guess"], ["--trials", "0"]])
def test_what_does_not_exist_is_refused_with_the_names_that_do(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), *wrong])
    assert "there are" in capsys.readouterr().err or wrong == ["--trials", "0"]


def test_the_names_of_tasks_and_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--list"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("task ")] == list(BUILDERS)
    assert [line.split()[1] for line in lines if line.startswith("method ")] == list(METHODS)


def test_suites_and_named_tasks_are_joined() -> None:
    assert selected(["nas"], ["hpobench/car"]) == ["hpobench/car", "nas/cifar10", "nas/cifar100", "nas/imagenet"]


def test_a_cell_has_a_folder_of_its_own() -> None:
    cells = {
        Cell(task=t, method=m, seed=s, first=f)
        for t in ("a/b", "a/c")
        for m in "xy"
        for s in (0, 1)
        for f in (True, False)
    }
    assert len({made.folder for made in cells}) == 16


def test_every_strategy_and_ablation_runs(tmp_path: Path) -> None:
    names = ["menu-no-model", *(name for name, method in METHODS.items() if method.model)]
    outcome = run(tmp_path, "--methods", ",".join(names), "--workers", "2")
    assert dict(outcome.failures) == {}
    assert {cell.method for cell in outcome.measured} == set(names)
