"""Guidance is a pure function of the study: roles, regions and menus that follow from it alone."""

import asyncio
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE, SchemaModel, flight, prompt, sampler

from optuna_llm import (
    ContextPolicy,
    FunctionClient,
    Guidance,
    LLMGuidedSampler,
    RecordingClient,
    ReplayClient,
    Situation,
    UsageError,
    optimize_async,
)
from optuna_llm.engine.study.snapshot import Snapshot
from optuna_llm.samplers.guidance import chosen
from optuna_llm.samplers.guidance.effects import effects
from optuna_llm.samplers.guidance.failures import risks
from optuna_llm.samplers.guidance.forms import formed
from optuna_llm.samplers.guidance.regions import plan
from optuna_llm.samplers.guidance.strategy import Open
from optuna_llm.samplers.memory import Memory
from optuna_llm.samplers.prompt.messages import Subject
from optuna_llm.samplers.question import Question
from optuna_llm.samplers.space.axes import Axes, Axis, Choices, Interval
from optuna_llm.samplers.space.reply_model import conform
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.duplicates import Index
from optuna_llm.samplers.view.finished_rows import Digest
from optuna_llm.samplers.view.observations import Evidence
from optuna_llm.samplers.view.past import read
from optuna_llm.samplers.view.trust import SMALLEST, START, Trust

COLUMNS = make_space(SPACE)


def history(count: int, seed: int = 0) -> list[FrozenTrial]:
    """Trials whose value grows with momentum; the learning rate does not matter."""
    rng = random.Random(seed)
    trials = []
    for number in range(count):
        params = {
            "lr": 10 ** rng.uniform(-5, -1),
            "momentum": rng.randrange(11) / 10,
            "layers": rng.choice((1, 3, 5, 7, 9)),
            "optimizer": rng.choice(("adam", "sgd", None)),
        }
        trial = create_trial(params=params, distributions=SPACE, value=params["momentum"])
        trial.number = number
        trials.append(trial)
    return trials


def situation(trials: list[FrozenTrial], **more: Any) -> Situation:
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    evidence.update(trials)
    known = {"ordinal": len(trials), "proposed": len(trials)}
    return Situation(space=COLUMNS, direction=StudyDirection.MINIMIZE, evidence=evidence, **{**known, **more})


@pytest.mark.parametrize("distribution", SPACE.values(), ids=SPACE)
def test_a_place_reads_back_as_its_value(distribution: Any) -> None:
    axis = Axis("x", distribution)
    for place in (0.0, 1.0) if axis.categorical else (0.0, 0.3, 1.0):
        value = axis.value(place)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert axis.value(axis.place(value)) == value


def test_bins_of_a_grid_cover_each_of_its_points_once() -> None:
    for distribution in (
        SPACE["momentum"],
        SPACE["layers"],
        IntDistribution(0, 12),
        FloatDistribution(0, 1, step=0.25),
    ):
        axis = Axis("x", distribution)
        points = {axis.value(index * axis.step) for index in range(int(axis.count))}
        for point in points:
            spans = [axis.span(index, index) for index in range(axis.bins)]
            assert [span.low <= point <= span.high for span in spans].count(True) == 1
            own = spans[axis.bin(axis.place(point))]
            assert own.low <= point <= own.high


def test_ascending_numbers_among_choices_are_levels_with_neighbours() -> None:
    axis = Axis("batch", CategoricalDistribution((16, 32, 64, 128)))
    assert not axis.categorical
    assert [axis.place(value) for value in (16, 32, 64, 128)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [axis.value(place) for place in (0.0, 0.4, 0.6, 1.0)] == [16, 32, 64, 128]
    middle = axis.interval(0.3, 0.7)
    assert middle == Interval(low=32, high=64)
    assert [axis.holds(middle, value) for value in (16, 32, 64, 128, "32")] == [False, True, True, False, False]
    assert math.isnan(axis.place(48))
    assert [axis.bin(axis.place(value)) for value in (16, 32, 64, 128)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "choices", [(64, 16, 32), (16, 64), (False, True, 2), ("a", "b", "c"), (1, 2, None), (1, 2, 2.5, "3")]
)
def test_other_choices_have_no_order(choices: tuple[Any, ...]) -> None:
    assert Axis("x", CategoricalDistribution(choices)).categorical


def test_a_value_outside_a_range_that_became_smaller_stands_at_its_end() -> None:
    assert Axis("x", FloatDistribution(0, 1)).place(7.0) == 1.0
    assert Axis("x", IntDistribution(1, 64, log=True)).place(8) == pytest.approx(0.5)


def test_a_trust_region_grows_on_success_shrinks_after_three_failures_and_starts_anew() -> None:
    assert Trust().after(improved=True).length > START
    shrunk = Trust().after(improved=False).after(improved=False).after(improved=False)
    assert shrunk.length == pytest.approx(START * 0.6)
    lengths = []
    while shrunk.length != START:
        lengths.append(shrunk.length)
        shrunk = shrunk.after(improved=False)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] >= SMALLEST


def test_the_parameter_that_decides_is_the_strongest_effect() -> None:
    found = effects(situation(history(60)).evidence)
    assert (found[0].name, found[0].best) == ("momentum", "low")
    assert found[0].strength > 0.95


def test_a_choice_that_decides_is_found() -> None:
    space = make_space({"kind": CategoricalDistribution(("a", "b", "c"))})
    evidence = Evidence(Axes(space), StudyDirection.MAXIMIZE)
    scores = {"a": 0.0, "b": 1.0, "c": 0.1}
    evidence.update(
        [create_trial(params={"kind": k}, distributions=space.distributions, value=scores[k]) for k in "abcabcabc"]
    )
    assert [(effect.name, effect.best) for effect in effects(evidence)] == [("kind", 1)]


def test_no_effect_is_claimed_of_few_trials() -> None:
    assert effects(situation(history(5)).evidence) == ()


def test_the_part_of_an_axis_where_trials_fail_is_named() -> None:
    trials = history(40)
    for trial in trials:
        if trial.params["momentum"] > 0.75:
            trial.state, trial.values = TrialState.FAIL, None
    found = risks(situation(trials).evidence)
    assert {risk.name for risk in found} == {"momentum"}
    assert {risk.bin for risk in found} == {4}


@pytest.mark.parametrize("name", ["guided", "menu", "adaptive"])
@pytest.mark.parametrize("count", [0, 1, 3, 6, 7, 8, 9, 10, 11, 30, 300])
def test_new_evidence_guides_as_one_that_grew(name: str, count: int) -> None:
    trials = history(count)
    grown = situation(trials[: count // 2])
    grown.evidence.update(trials)
    again = Situation(space=COLUMNS, direction=grown.direction, evidence=grown.evidence, ordinal=count, proposed=count)
    assert chosen(name).guide(again) == chosen(name).guide(situation(trials))


@pytest.mark.parametrize("count", range(1, 40))
def test_a_menu_offers_values_of_the_space_inside_its_region(count: int) -> None:
    guidance = chosen("menu").guide(situation(history(count)))
    axes = Axes(COLUMNS)
    for name, values in guidance.menu.items():
        for value in values:
            text = axes.by_name[name].choices and COLUMNS.labels[name][SPACE[name].choices.index(value)]  # type: ignore[attr-defined]
            conformed = conform({name: text or value}, make_space({name: SPACE[name]}))
            assert conformed.params is not None
            assert not conformed.repairs
            assert axes.inside({name: guidance.region[name]}, {name: value}) == 1.0


@pytest.mark.parametrize("count", [2, 12, 40])
def test_asks_that_are_open_together_get_different_regions(count: int) -> None:
    trials, asks = history(count), []
    for step in range(6):
        now = situation(trials, open=tuple(asks), ordinal=len(trials) + step)
        region = chosen("guided").guide(now).region
        asks.append(Open(region=region, places=now.evidence.axes.center(region)))
    assert len({repr(ask.region) for ask in asks}) == 6


def test_the_first_ask_of_all_is_a_first_guess_and_the_next_ones_explore() -> None:
    assert chosen("menu").guide(situation([])).role == "first guess"
    assert [chosen("menu").guide(situation(history(n), proposed=n)).role for n in (1, 2, 3)] == ["explore"] * 3
    assert {chosen("menu").guide(situation(history(n))).role for n in range(4, 30)} == {"explore", "refine", "combine"}


def test_the_first_guess_comes_after_trials_of_others_unless_they_tell_enough() -> None:
    assert chosen("menu").guide(situation(history(1), proposed=0)).role == "first guess"
    assert chosen("menu").guide(situation(history(1), ordinal=2, proposed=1)).role == "explore"
    assert chosen("menu").guide(situation(history(30), proposed=0)).role != "first guess"


def test_obedience_is_the_share_of_the_region_that_was_kept() -> None:
    axes = Axes(COLUMNS)
    region = {"lr": Interval(low=1e-4, high=1e-3), "optimizer": Choices(values=("adam",))}
    assert axes.inside(region, {"lr": 5e-4, "optimizer": "sgd"}) == 0.5


@pytest.mark.parametrize("wrong", ["best", 3, None, Evidence])
def test_an_unknown_strategy_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match="'adaptive', 'guided', 'menu', 'plain'"):
        sampler(strategy=wrong)


class Own:
    """A user's strategy."""

    name = "own"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Situation] = []

    def guide(self, situation: Situation) -> Any:
        self.seen.append(situation)
        return self.answer


@pytest.mark.asyncio
async def test_a_strategy_of_ones_own_sees_the_study_and_decides_what_is_offered() -> None:
    own = Own(Guidance(strategy="own", role="my role", form="menu", words="Be bold.", menu={"layers": [3, 7]}))
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy=own))
    await optimize_async(study, lambda trial: trial.params["lr"], n_trials=4, search_space=SPACE)
    assert {trial.params["layers"] for trial in study.trials} <= {3, 7}
    assert all("Be bold." in prompt(request) for request in model.requests)
    record = study.trials[0].user_attrs["llm"]
    assert (record["strategy"], record["role"], record["inside"]) == ("own", "my role", 1.0)
    assert record["region"] == {"layers": {"from": 3, "to": 7}}
    best = own.seen[-1].evidence.best(1)[0]
    assert best.value == min(trial.value or 0 for trial in study.trials[:3])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("refine", r"guide\(\) must return a Guidance, not 'refine'"),
        (Guidance(strategy="own", menu={"rate": [1]}), "its menu names 'rate', but asked for are 'lr', 'momentum'"),
        (Guidance(strategy="own", menu={"layers": [3, 4]}), "its menu offers 4 for 'layers', which is not in"),
        (Guidance(strategy="own", menu={"optimizer": ["adam", "lion"]}), "its menu offers 'lion' for 'optimizer'"),
        (Guidance(strategy="own", menu={"lr": []}), "its menu offers nothing for 'lr'"),
    ],
)
async def test_what_no_ask_could_be_told_is_an_error_that_names_the_strategy(answer: Any, message: str) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=Own(answer)))
    with pytest.raises(UsageError, match=f"strategy 'own': {message}"):
        await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    assert study.trials == []


@pytest.mark.asyncio
@pytest.mark.parametrize("strategy", ["guided", "menu", "adaptive"])
async def test_role_strategy_and_region_stand_on_the_trials(strategy: str) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy=strategy))
    await optimize_async(study, lambda trial: trial.params["lr"], n_trials=16, n_workers=4, search_space=SPACE)
    records = [trial.user_attrs["llm"] for trial in study.trials]
    assert {record["strategy"] for record in records} == {strategy}
    assert {record["role"] for record in records} >= {"first guess", "explore", "refine"}
    assert all("region" in record for record in records if record["role"] == "refine")
    if strategy == "menu":
        assert all(record.get("inside", 1.0) == 1.0 for record in records)
    assert any("Role: refine" in prompt(request) for request in model.requests)


def test_an_ask_that_ended_without_a_proposal_does_not_give_its_draws_to_one_that_is_open() -> None:
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    index, digest = Index(SPACE), Digest(tuple(SPACE), StudyDirection.MINIMIZE)
    memory = Memory(latest=Snapshot, digest=digest, flight=flight(), index=index, evidence=evidence)
    question = Question(
        columns=COLUMNS,
        space=COLUMNS,
        direction=StudyDirection.MINIMIZE,
        subject=Subject(),
        policy=ContextPolicy(),
        strategy=chosen("guided"),
    )
    first, second = memory.asking(question, Snapshot()), memory.asking(question, Snapshot())
    first.__enter__()
    with second as open_one:
        first.__exit__(None, None, None)
        assert memory.situation(question, Snapshot()).ordinal == 2
        with memory.asking(question, Snapshot()) as another:
            assert another.region != open_one.region
    assert not memory.open


def test_where_all_is_known_nothing_is_offered() -> None:
    space = make_space({"kind": CategoricalDistribution(("a", "b"))})
    evidence = Evidence(Axes(space), StudyDirection.MINIMIZE)
    evidence.update([create_trial(params={"kind": k}, distributions=space.distributions, value=0.0) for k in "aab"])
    now = Situation(space=space, direction=StudyDirection.MINIMIZE, evidence=evidence, ordinal=3, proposed=3)
    assert plan("explore", now, ()) is None
    guidance = chosen("menu").guide(now)
    assert (dict(guidance.menu), dict(guidance.region)) == ({}, {})


@pytest.mark.asyncio
async def test_a_recording_says_whether_menus_were_in_the_schema(tmp_path: Path) -> None:
    async def run(client: Any) -> list[Any]:
        study = optuna.create_study(sampler=LLMGuidedSampler(client, strategy="menu"))
        await optimize_async(study, lambda trial: trial.params["lr"], n_trials=6, search_space=SPACE)
        return [trial.params for trial in study.trials]

    for compiles in (True, False):
        model = SchemaModel()
        client = FunctionClient(model)
        client.schema_per_ask = compiles  # type: ignore[attr-defined]
        path = tmp_path / f"{compiles}.jsonl"
        recorder = await asyncio.to_thread(RecordingClient, client, path)
        made = await run(recorder)
        await recorder.aclose()
        assert (len({repr(request.schema) for request in model.requests}) > 1) == compiles
        assert await run(await asyncio.to_thread(ReplayClient, path)) == made


@pytest.mark.asyncio
async def test_of_a_wave_of_asks_one_is_written_in_a_turn_of_the_loop() -> None:
    turns, written = 0, []

    def tick() -> None:
        nonlocal turns
        turns += 1
        if len(written) < 32:
            asyncio.get_running_loop().call_soon(tick)

    class Watching:
        name = "watching"

        def guide(self, _: Situation) -> Guidance:
            if not written:
                tick()
            written.append(turns)
            return Guidance(strategy=self.name)

    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=Watching()))
    await optimize_async(study, lambda trial: trial.params["lr"], n_trials=32, n_workers=32, search_space=SPACE)
    assert len(written) == len(set(written)) == 32


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"menu": {"lr": 0.01}}, "menu must be a mapping from names to lists of values, not"),
        ({"menu": None}, "menu must be a mapping from names to lists of values, not None"),
        ({"words": 5}, "words must be a string, not 5"),
        ({"strategy": 5}, "strategy must be a string, not 5"),
        ({"role": None}, "role must be a string, not None"),
        ({"form": "table"}, "form must be one of 'plain', 'words', 'menu', not 'table'"),
        ({"region": {"lr": (0.1, 0.2)}}, "region must be a mapping from names to Interval or Choices"),
        ({"region": {"speed": Interval(low=0, high=1)}}, "its region names 'speed', which is no parameter"),
        ({"summary": "one line"}, "summary must be a tuple of strings, not 'one line'"),
        ({"menu": {"layers": [True]}}, "its menu offers True for 'layers', which is not in"),
        ({"menu": {"lr": ["0.01"]}}, "its menu offers '0.01' for 'lr', which is not in"),
        ({"menu": {"lr": [Decimal("0.01")]}}, r"its menu offers Decimal\('0.01'\) for 'lr', which is not in"),
        ({"region": {"optimizer": Choices(values=())}}, "its region has none of the choices of 'optimizer'"),
        (
            {"region": {"optimizer": Choices(values=("lion",))}},
            "its region has 'lion' among the choices of 'optimizer'",
        ),
        ({"region": {"optimizer": Interval(low=0, high=1)}}, "its region has an Interval .* for 'optimizer'; give two"),
        ({"region": {"lr": Interval(low=0.1, high=0.01)}}, "its region has an Interval with the ends 0.1 and 0.01"),
        ({"region": {"lr": Interval(low="a", high=0.01)}}, "its region has an Interval with the ends 'a' and 0.01"),
        ({"offered": [[0.5]]}, "offered must be rows of 4 places, not"),
    ],
)
async def test_guidance_of_a_wrong_kind_is_an_error_that_says_which_part(answer: Any, message: str) -> None:
    own = Own(Guidance(**{"strategy": "own", **answer}))
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=own))
    with pytest.raises(UsageError, match=f"strategy 'own': {message}"):
        await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    assert study.trials == []


@pytest.mark.asyncio
async def test_numbers_of_other_libraries_stand_on_the_trials_as_pythons_own() -> None:
    region = {
        "lr": Interval(low=np.float32(0.001), high=np.float64(0.1)),
        "layers": Interval(low=np.int64(3), high=5.0),
    }
    own = Own(Guidance(strategy="own", menu={"layers": list(np.arange(3, 6, 2)), "momentum": [1]}, region=region))
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=own))
    await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    record = study.trials[0].user_attrs["llm"]
    assert record["region"]["layers"] == {"from": 3, "to": 5}
    assert study.trials[0].params["layers"] in (3, 5)
    assert study.trials[0].params["momentum"] == 1.0


def test_a_strategy_needs_a_name_that_can_stand_on_the_trials() -> None:
    own = Own(Guidance(strategy="own"))
    own.name = 5  # type: ignore[assignment]
    with pytest.raises(UsageError, match="must be a string, not 5"):
        sampler(SchemaModel(), strategy=own)


@pytest.mark.asyncio
async def test_a_menu_of_ones_own_stands_in_the_prompt_and_yields_to_what_is_fixed() -> None:
    own = Own(Guidance(strategy="own", form="menu", words="Be bold.", menu={"layers": [3, 7], "optimizer": ["sgd"]}))
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy=own))
    study.enqueue_trial({"layers": 5})
    await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    first, second = (prompt(request) for request in model.requests)
    assert first.endswith('Be bold. Take one of these values: optimizer "sgd".')
    assert second.endswith('Be bold. Take one of these values: layers 3 or 7; optimizer "sgd".')
    assert [trial.params["layers"] in (3, 7) for trial in study.trials] == [False, True]


@pytest.mark.parametrize("seed", range(8))
def test_words_narrow_only_what_they_do_not_give_whole(seed: int) -> None:
    found = formed("guided", situation(history(12), seed=seed), "explore", "words")
    by_name = Axes(COLUMNS).by_name
    for name, part in found.region.items():
        assert part != by_name[name].full_part
        assert name in found.words


@pytest.mark.asyncio
async def test_a_study_whose_parameter_became_a_number_goes_on() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    kinds = CategoricalDistribution(("auto", "high"))
    for value in range(5):
        study.add_trial(create_trial(params={"lr": "auto"}, distributions={"lr": kinds}, value=value))
    report = await optimize_async(study, lambda trial: trial.params["lr"], n_trials=12, search_space=SPACE)
    assert report.n_complete == 12
    assert "\n0,0,auto,-,-,-\n" in prompt(model.requests[-1])


@pytest.mark.parametrize("role", ["explore", "refine", "combine"])
def test_asks_that_are_open_together_offer_no_candidate_twice(role: str) -> None:
    few = make_space({f"c{n}": CategoricalDistribution(("a", "b", "c")) for n in range(4)})
    rng = random.Random(0)
    trials = [
        create_trial(
            params={name: rng.choice("abc") for name in few.distributions},
            distributions=dict(few.distributions),
            value=rng.random(),
        )
        for _ in range(12)
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    evidence = Evidence(Axes(few), StudyDirection.MINIMIZE)
    evidence.update(trials)
    asks: list[Open] = []
    for ordinal in range(12, 18):
        now = Situation(
            space=few, direction=StudyDirection.MINIMIZE, evidence=evidence, open=tuple(asks), ordinal=ordinal
        )
        found = formed("menu", now, role, "menu")
        places = evidence.axes.center(found.region)
        asks.append(Open(region=found.region, places=places, offered=found.offered))
    offered = [tuple(row) for ask in asks for row in ask.offered]
    assert len(offered) > 12
    assert len(set(offered)) == len(offered)


def test_a_record_that_nobody_could_have_written_ends_no_run() -> None:
    for wrong in (10**400, math.nan, -1, "all", True):
        assert read(create_trial(value=1.0, user_attrs={"llm": {"inside": wrong}})).inside is None
