"""Guidance is a pure function of the study: facts, roles and menus that follow from it alone."""

import asyncio
import math
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from support import SPACE, SchemaModel, prompt, sampler, study_view

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
from optuna_llm.engine.records import Share
from optuna_llm.engine.study.snapshot import Snapshot
from optuna_llm.samplers.ask import Ask, OpenAsks
from optuna_llm.samplers.guidance import strategy_named
from optuna_llm.samplers.guidance.menu import menu_for
from optuna_llm.samplers.guidance.strategy import OpenAsk
from optuna_llm.samplers.prompt.messages import Subject
from optuna_llm.samplers.provenance import read_guidance
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.reply_model import conform
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import TRUST_SMALLEST, TRUST_START, Evidence, Trust

COLUMNS = make_space(SPACE)


def history(count: int, seed: int = 0) -> list[FrozenTrial]:
    """Trials whose value grows with momentum; the learning rate does not matter."""
    rng = random.Random(seed)
    trials = []
    for number in range(count):
        params: dict[str, Any] = {
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


def test_a_trust_region_grows_on_success_shrinks_after_three_failures_and_starts_anew() -> None:
    assert Trust().after(improved=True).length > TRUST_START
    shrunk = Trust().after(improved=False).after(improved=False).after(improved=False)
    assert shrunk.length == pytest.approx(TRUST_START * 0.6)
    lengths = []
    while shrunk.length != TRUST_START:
        lengths.append(shrunk.length)
        shrunk = shrunk.after(improved=False)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] >= TRUST_SMALLEST


@pytest.mark.parametrize("name", ["plain", "menu", "adaptive"])
@pytest.mark.parametrize("count", [0, 1, 3, 6, 7, 8, 9, 10, 11, 30, 300])
def test_new_evidence_guides_as_one_that_grew(name: str, count: int) -> None:
    trials = history(count)
    grown = situation(trials[: count // 2])
    grown.evidence.update(trials)
    again = Situation(space=COLUMNS, direction=grown.direction, evidence=grown.evidence, ordinal=count, proposed=count)
    assert strategy_named(name).guide(again) == strategy_named(name).guide(situation(trials))


def test_the_first_ask_of_all_is_a_first_guess_and_the_next_ones_explore() -> None:
    assert strategy_named("menu").guide(situation([])).role == "first guess"
    assert [strategy_named("menu").guide(situation(history(n), proposed=n)).role for n in (1, 2, 3)] == ["explore"] * 3
    assert {strategy_named("menu").guide(situation(history(n))).role for n in range(4, 30)} == {
        "explore",
        "refine",
        "combine",
    }


def test_the_first_guess_comes_after_trials_of_others_unless_they_tell_enough() -> None:
    assert strategy_named("menu").guide(situation(history(1), proposed=0)).role == "first guess"
    assert strategy_named("menu").guide(situation(history(1), ordinal=2, proposed=1)).role == "explore"
    assert strategy_named("menu").guide(situation(history(30), proposed=0)).role != "first guess"


@pytest.mark.parametrize("wrong", ["best", 3, None, Evidence])
def test_an_unknown_strategy_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match="'adaptive', 'menu', 'plain'"):
        sampler(strategy=wrong)


@pytest.mark.asyncio
async def test_of_a_wave_of_asks_few_are_written_in_an_iteration_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, iterations = 0.0, 0
    written: list[int] = []  # in which iteration each was

    def tick() -> None:
        nonlocal iterations
        iterations += 1
        if len(written) < 32:
            asyncio.get_running_loop().call_soon(tick)

    class Watching:
        name = "watching"

        def guide(self, _: Situation) -> Guidance:
            nonlocal cpu
            if not written:
                tick()
            cpu += 0.0015  # the most that a prompt may take
            written.append(iterations)
            return Guidance(strategy=self.name)

    monkeypatch.setattr(time, "thread_time", lambda: cpu)
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=Watching()))
    await optimize_async(study, lambda trial: trial.params["lr"], n_trials=32, n_workers=32, search_space=SPACE)
    assert len(written) == 32
    assert max(Counter(written).values()) <= 3


@pytest.mark.asyncio
async def test_a_study_whose_parameter_became_a_number_goes_on() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    kinds = CategoricalDistribution(("auto", "high"))
    for value in range(5):
        study.add_trial(create_trial(params={"lr": "auto"}, distributions={"lr": kinds}, value=value))
    study.add_trial(create_trial(params={"lr": 0.01}, distributions={"lr": SPACE["lr"]}, value=9.0))
    report = await optimize_async(study, lambda trial: trial.params["lr"], n_trials=12, search_space=SPACE)
    assert report.n_complete == 12
    assert "\n0,0,auto,-,-,-\n" in prompt(model.requests[-1])


@pytest.mark.parametrize("count", range(1, 40))
def test_a_menu_offers_values_of_the_space(count: int) -> None:
    guidance = strategy_named("menu").guide(situation(history(count)))
    assert guidance.form == "menu"
    for candidate in guidance.candidates:
        answer = {
            COLUMNS.keys[name]: COLUMNS.labels[name][SPACE[name].choices.index(value)]  # type: ignore[attr-defined]
            if name in COLUMNS.labels
            else value
            for name, value in candidate.items()
        }
        conformed = conform(answer, COLUMNS)
        assert (conformed.params, conformed.repairs) == (candidate, ())


@pytest.mark.asyncio
@pytest.mark.parametrize(("strategy", "forms"), [("plain", {"plain"}), ("menu", {"plain", "menu"})])
async def test_strategy_form_and_role_stand_on_the_trials(strategy: str, forms: set[str]) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=strategy))
    await optimize_async(study, lambda trial: trial.params["lr"], n_trials=16, n_workers=4, search_space=SPACE)
    records = [trial.user_attrs["llm"] for trial in study.trials]
    assert {record["strategy"] for record in records} == {strategy}
    assert {record["form"] for record in records} == forms
    assert {record["role"] for record in records} >= (
        {"propose"} if strategy == "plain" else {"first guess", "explore", "refine"}
    )


def asked(strategy: str) -> Ask:
    return Ask(
        columns=COLUMNS,
        space=COLUMNS,
        direction=StudyDirection.MINIMIZE,
        subject=Subject(),
        policy=ContextPolicy(),
        strategy=strategy_named(strategy),
    )


def test_an_ask_that_ended_without_a_proposal_does_not_give_its_draws_to_one_that_is_open() -> None:
    view = study_view().at(Snapshot())
    asks = OpenAsks(study_view(), Snapshot)
    ask = asked("menu")
    _guess, first, second = (asks.open(ask, view) for _ in range(3))  # a guess is free
    with second:
        asks.close(first)
        assert asks.situation(ask, view).ordinal == 3
        with asks.open(ask, view) as another:
            assert another.guidance.candidates != second.guidance.candidates
    assert len(asks.situation(ask, view).open) == 1


def test_what_an_open_ask_declined_may_be_offered_to_others() -> None:
    view = study_view().at(Snapshot())
    asks = OpenAsks(study_view(), Snapshot)
    ask = asked("menu")
    _guess, menu = (asks.open(ask, view) for _ in range(2))
    offered = len(menu.guidance.candidates)
    assert [len(asks.situation(ask, view).offered), len(asks.situation(ask, view).pending)] == [offered, 1]
    asks.decline(menu)
    assert [len(asks.situation(ask, view).offered), len(asks.situation(ask, view).pending)] == [0, 0]
    assert len(asks.situation(ask, view).open) == 2
    asks.close(menu)
    assert len(asks.situation(ask, view).open) == 1


def test_open_asks_have_the_lowest_positions_that_are_free_and_processes_share_them_out() -> None:
    view = study_view().at(Snapshot())
    asks = OpenAsks(study_view(), Snapshot)
    first, second = (asks.open(asked("plain"), view) for _ in range(2))
    asks.close(first)
    third = asks.open(asked("plain"), view)
    assert [one.position for one in (first, second, third)] == [1, 2, 1]
    shared = study_view().at(Snapshot(share=Share(place=1, processes=3)))
    elsewhere = OpenAsks(study_view(), Snapshot)
    three = [elsewhere.open(asked("plain"), shared) for _ in range(3)]
    assert [one.position for one in three] == [2, 5, 8]


def test_open_asks_of_several_processes_never_have_the_same_position() -> None:
    asks = [OpenAsks(study_view(), Snapshot) for _ in range(3)]
    views = [study_view().at(Snapshot(share=Share(place=place, processes=3))) for place in range(3)]
    positions = [of.open(asked("plain"), view).position for of, view in zip(asks, views, strict=True) for _ in range(4)]
    assert sorted(positions) == list(range(1, 13))


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
    asks: list[OpenAsk] = []
    for ordinal in range(12, 18):
        now = Situation(
            space=few, direction=StudyDirection.MINIMIZE, evidence=evidence, open=tuple(asks), ordinal=ordinal
        )
        found = menu_for(now, role, "menu")
        asks.append(OpenAsk(offered=[evidence.axes.places(candidate) for candidate in found.candidates]))
    offered = [tuple(row) for ask in asks for row in ask.offered]
    assert len(offered) > 12
    assert len(set(offered)) == len(offered)


def test_where_all_is_known_the_ask_is_free() -> None:
    space = make_space({"kind": CategoricalDistribution(("a", "b"))})
    evidence = Evidence(Axes(space), StudyDirection.MINIMIZE)
    evidence.update(
        [create_trial(params={"kind": k}, distributions=dict(space.distributions), value=0.0) for k in "aab"]
    )
    now = Situation(space=space, direction=StudyDirection.MINIMIZE, evidence=evidence, ordinal=3, proposed=3)
    assert strategy_named("menu").guide(now).form == "plain"


@pytest.mark.asyncio
async def test_schemas_of_menus_are_few_whatever_they_offer_and_a_recording_replays_them(tmp_path: Path) -> None:
    async def run(client: Any) -> list[Any]:
        study = optuna.create_study(sampler=LLMGuidedSampler(client, strategy="menu"))
        await optimize_async(study, lambda trial: trial.params["lr"], n_trials=9, search_space=SPACE)
        return [trial.params for trial in study.trials]

    model = SchemaModel()
    recorder = await asyncio.to_thread(RecordingClient, FunctionClient(model), tmp_path / "run.jsonl")
    made = await run(recorder)
    await recorder.aclose()
    assert len({repr(request.schema) for request in model.requests}) == 2
    assert await run(await asyncio.to_thread(ReplayClient, tmp_path / "run.jsonl")) == made


@pytest.mark.parametrize("wrong", [10**400, math.nan, -1, "all", True, None, ["plain"]])
def test_a_record_that_nobody_could_have_written_ends_no_run(wrong: Any) -> None:
    llm = dict.fromkeys(("calls", "reasks", "form", "role", "strategy", "duplicate_of"), wrong)
    assert isinstance(read_guidance(create_trial(value=1.0, user_attrs={"llm": llm})).stumbled, bool)
