"""What counts as the same configuration, and what happens to one that comes again."""

import enum
import math
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SchemaModel, Script, llm_sampler, prompt, sampler

from optuna_llm import AsyncTrial, Request, ask_async, optimize_async
from optuna_llm.engine.records import Proposal, Share
from optuna_llm.samplers import pipeline
from optuna_llm.samplers.space.axes import Axis
from optuna_llm.samplers.view.duplicates import TOLERANCE, DuplicateIndex, count_configurations, point

SPACE = {
    "x": FloatDistribution(0, 10),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "n": IntDistribution(1, 9, step=2),
    "c": CategoricalDistribution((1, True, "1", None)),
}
BASE = {"x": 5.0, "lr": 0.01, "n": 3, "c": True}


@pytest.mark.parametrize("before", [{"x": "auto"}, {"n": "many", "c": 1}])
def test_a_parameter_that_was_of_another_kind_is_none_that_can_be_compared(before: dict[str, Any]) -> None:
    assert point(before, SPACE) == point({name: v for name, v in before.items() if not isinstance(v, str)}, SPACE)


def near(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return point(one, SPACE).near(point(other, SPACE))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"x": 5.009}, True),
        ({"x": 5.011}, False),
        ({"lr": 0.01 * math.exp(math.log(1e4) * TOLERANCE * 0.9)}, True),
        ({"lr": 0.01 * math.exp(math.log(1e4) * TOLERANCE * 1.1)}, False),
        ({"n": 5}, False),
        ({"c": 1}, False),
        ({"c": "1"}, False),
        ({"c": None}, False),
    ],
)
def test_floats_are_compared_by_range_and_everything_else_exactly(change: dict[str, Any], same: bool) -> None:
    assert near(BASE, {**BASE, **change}) is same


def test_a_configuration_with_other_parameters_is_another_one() -> None:
    assert not near(BASE, {name: value for name, value in BASE.items() if name != "n"})


@pytest.mark.parametrize(
    ("space", "count"),
    [
        ({"n": IntDistribution(1, 9, step=2), "c": CategoricalDistribution(("a", "b"))}, 10),
        ({"x": FloatDistribution(0, 1, step=0.25)}, 5),
        ({"x": FloatDistribution(1, 1)}, 1),
        ({"x": FloatDistribution(0, 1)}, math.inf),
    ],
)
def test_the_size_of_a_space(space: Any, count: float) -> None:
    assert count_configurations(space) == count


def finished(number: int, params: dict[str, Any]) -> FrozenTrial:
    made = create_trial(value=0.0, params=params, distributions=SPACE)
    made.number = number
    return made


configurations = st.fixed_dictionaries(
    {
        "x": st.sampled_from([0.0, 5.0, 5.005, 5.02, 10.0]),
        "lr": st.sampled_from([1e-4, 0.01, 0.01005, 1.0]),
        "n": st.sampled_from([1, 3]),
        "c": st.sampled_from([1, True, None]),
    }
)


@given(st.lists(configurations, max_size=30), configurations, st.integers(0, 30))
def test_the_index_finds_what_a_full_search_finds(known: list[Any], wanted: Any, cut: int) -> None:
    trials = [finished(number, params) for number, params in enumerate(known)]
    index = DuplicateIndex(SPACE)
    index.update(trials[:cut])
    index.update(trials)
    found = index.find(point(wanted, SPACE))
    expected = {trial.number for trial in trials if near(trial.params, wanted)}
    assert (found in expected) if expected else (found is None)


def test_what_a_signal_interrupted_may_be_proposed_again_and_what_failed_may_not() -> None:
    interrupted, failed = (create_trial(state=TrialState.FAIL, params=BASE, distributions=SPACE) for _ in range(2))
    for made, kind in ((interrupted, "Interrupted"), (failed, "MemoryError")):
        made.user_attrs = {"failure": {"type": kind, "message": ""}}
        index = DuplicateIndex(SPACE)
        index.update([made])
        assert (index.find(point(BASE, SPACE)) is None) == (kind == "Interrupted")


ONE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


async def score(trial: AsyncTrial) -> float:
    return float(trial.params["x"])


def test_a_duplicate_of_a_finished_trial_is_asked_anew_naming_it() -> None:
    script = Script({"x": 0.5}, {"x": 0.5}, {"x": 0.7})
    study = optuna.create_study(sampler=sampler(script))
    anyio.run(lambda: optimize_async(study, score, n_trials=2, search_space=ONE))
    assert [trial.params["x"] for trial in study.trials] == [0.5, 0.7]
    assert "the same as that of trial 0, which has finished" in script.requests[-1].messages[-1]["content"]
    assert study.trials[1].user_attrs["llm"]["reasks"] == 1
    assert study.trials[1].user_attrs["llm"]["duplicate_of"] is None


def test_a_duplicate_after_the_reasks_is_evaluated_and_recorded() -> None:
    study = optuna.create_study(sampler=sampler(Script({"x": 0.5})))
    report = anyio.run(lambda: optimize_async(study, score, n_trials=3, search_space=ONE))
    assert [trial.user_attrs["llm"]["duplicate_of"] for trial in study.trials] == [None, 0, 0]
    assert report.duplicates == 2
    assert report.n_complete == 3


def test_a_valid_duplicate_is_better_than_an_invalid_last_reply() -> None:
    script = Script({"x": 0.5}, {"x": 0.5}, "nonsense", "nonsense", {"x": 0.9})
    study = optuna.create_study(sampler=sampler(script))
    anyio.run(lambda: optimize_async(study, score, n_trials=2, search_space=ONE))
    assert study.trials[1].params == {"x": 0.5}
    assert study.trials[1].user_attrs["llm"]["duplicate_of"] == 0


def test_two_equal_proposals_of_the_same_moment_are_told_apart_and_each_prompt_names_the_other() -> None:
    requests: list[Any] = []

    async def model(request: Any) -> Any:
        requests.append(request)
        while len(requests) < 2:  # both are asked before either is answered
            await anyio.lowlevel.checkpoint()
        return {"x": 0.5 if len(requests) < 3 else 0.9}

    study = optuna.create_study(sampler=sampler(model))
    anyio.run(lambda: optimize_async(study, score, n_trials=2, n_workers=2, search_space=ONE))
    assert sorted(trial.params["x"] for trial in study.trials) == [0.5, 0.9]
    assert [f"Yours is number {n}: " in prompt(request) for n, request in enumerate(requests[:2], 1)] == [True, True]
    assert "same as" in prompt(requests[2])
    assert sum(trial.user_attrs["llm"]["reasks"] for trial in study.trials) == 1


def test_a_running_trial_of_somebody_else_is_not_repeated() -> None:
    script = Script({"x": 0.5}, {"x": 0.6})
    study = optuna.create_study(sampler=sampler(script))
    foreign = create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions=ONE)
    study._storage.create_new_trial(study._study_id, template_trial=foreign)
    anyio.run(lambda: optimize_async(study, score, n_trials=1, search_space=ONE))
    assert "0,running,0.5" in prompt(script.requests[0])
    assert "trial 0, which is running" in prompt(script.requests[1])
    assert study.trials[1].params == {"x": 0.6}
    assert study.trials[0].state is TrialState.RUNNING


FEW = {"n": IntDistribution(1, 3), "c": CategoricalDistribution(("a", "b"))}


async def constant(trial: AsyncTrial) -> float:
    return 1.0


def everything() -> Script:
    return Script(*[{"n": n, "c": c} for n in (1, 2, 3) for c in ("a", "b")])


@pytest.mark.parametrize("n_workers", [1, 4])
def test_an_exhausted_finite_space_ends_the_run(n_workers: int) -> None:
    study = optuna.create_study(sampler=sampler(everything()))
    report = anyio.run(lambda: optimize_async(study, constant, n_trials=50, n_workers=n_workers, search_space=FEW))
    assert report.stop_reason == "exhausted"
    assert {(t.params["n"], t.params["c"]) for t in study.trials} == {(n, c) for n in (1, 2, 3) for c in ("a", "b")}


def test_study_optimize_goes_on_in_an_exhausted_space_with_duplicates_on_record() -> None:
    script = everything()
    study = optuna.create_study(sampler=sampler(script))
    study.optimize(lambda t: t.suggest_int("n", 1, 3) + len(t.suggest_categorical("c", ("a", "b"))), n_trials=9)
    assert len(study.trials) == 9


def test_a_declared_union_compares_the_whole_proposal_only_with_what_was_suggested() -> None:
    union = {"kind": CategoricalDistribution(("a", "b")), "p": FloatDistribution(0, 1), "q": FloatDistribution(0, 1)}

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ("a", "b"))
        return trial.suggest_float("p" if kind == "a" else "q", 0, 1)

    script = Script(
        {"kind": "a", "p": 0.5, "q": 0.1}, {"kind": "a", "p": 0.5, "q": 0.9}, {"kind": "b", "p": 0.5, "q": 0.9}
    )
    study = optuna.create_study(sampler=sampler(script, search_space=union))
    study.optimize(objective, n_trials=2)
    assert [trial.params for trial in study.trials] == [{"kind": "a", "p": 0.5}, {"kind": "b", "q": 0.9}]
    assert study.trials[1].user_attrs["llm"]["reasks"] == 1


def test_the_model_of_the_tests_repeats_nothing_in_a_wide_space() -> None:
    """Without menus: draws from each of their columns may be the trial that they start from."""
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy="plain"))
    space = {f"x{n}": FloatDistribution(0, 1) for n in range(4)}
    report = anyio.run(lambda: optimize_async(study, constant, n_trials=30, n_workers=8, search_space=space))
    assert (report.reasks, report.duplicates) == (0, 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_another_process_proposed_meanwhile_is_seen_before_a_reply_is_accepted(processes: int) -> None:
    study = optuna.create_study()
    asked: list[str] = []

    def model(request: Request) -> dict[str, float]:
        asked.append(prompt(request))
        if len(asked) == 1:  # while the model thinks
            study.add_trial(create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions=ONE))
        return {"x": 0.5 if len(asked) == 1 else 0.7}

    study.sampler = sampler(model, search_space=ONE)
    llm_sampler(study).door(study).sharing.update(Share(place=0, processes=processes))
    (proposal,) = anyio.run(llm_sampler(study).propose, study)
    if processes == 1:
        assert proposal.params == {"x": 0.5}
    else:
        assert proposal.params == {"x": 0.7}
        assert "the same as that of trial 0, which is running" in asked[1]


def test_a_storage_that_fails_at_that_moment_fails_no_proposal(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=sampler(Script({"x": 0.5}), search_space=ONE))
    door = llm_sampler(study).door(study)
    door.sharing.update(Share(place=0, processes=2))
    readings = [study.get_trials(deepcopy=False)]

    def read(*_: object, **__: object) -> object:
        if not readings:
            raise RuntimeError("the disk is gone")
        return readings.pop()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study._storage, "get_all_trials", read)
        (proposal,) = anyio.run(llm_sampler(study).propose, study)
    assert proposal.params == {"x": 0.5}
    assert "could not be read again" in caplog.text


@pytest.mark.parametrize("processes", [1, 2])
def test_what_another_process_made_a_trial_since_is_proposed_anew(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(sampler=sampler(Script({"x": 0.5}, {"x": 0.7}), search_space=ONE))
    door = llm_sampler(study).door(study)
    door.sharing.update(Share(place=0, processes=processes))
    reserve = door.in_flight.reserve

    def overtaken(proposal: Proposal) -> None:
        reserve(proposal)
        if proposal.params == {"x": 0.5}:
            study.add_trial(create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions=ONE))

    monkeypatch.setattr(door.in_flight, "reserve", overtaken)
    (trial,) = anyio.run(lambda: ask_async(study, search_space=ONE))
    assert trial.params == {"x": 0.5 if processes == 1 else 0.7}
    assert door.snapshot().reserved == ()
    spent = door.spending.unsaved()
    assert (spent is None) == (processes == 1)  # what was given up is paid for all the same


def test_a_space_that_holds_nothing_new_is_repeated_in_several_processes_too() -> None:
    only: dict[str, BaseDistribution] = {"kind": CategoricalDistribution(("a", "b"))}
    study = optuna.create_study(sampler=sampler(SchemaModel(), search_space=only))
    for kind in ("a", "b"):
        study.add_trial(create_trial(value=1.0, params={"kind": kind}, distributions=only))
    llm_sampler(study).door(study).sharing.update(Share(place=0, processes=2))
    (trial,) = anyio.run(lambda: ask_async(study, search_space=only))
    assert trial.params["kind"] in ("a", "b")


class Kind(enum.StrEnum):
    FAST = "fast"
    SAFE = "safe"


@pytest.mark.parametrize("choices", [tuple(Kind), (np.float64(0.1), np.float64(0.2))])
def test_a_choice_is_known_again_as_a_storage_gives_it_back(choices: tuple[Any, ...], tmp_path: Path) -> None:
    """As plain strings and numbers."""
    space = {"kind": CategoricalDistribution(choices)}
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel(), search_space=space))
    door = llm_sampler(study).door(study)
    door.sharing.update(Share(place=0, processes=2))
    report = anyio.run(lambda: optimize_async(study, constant, n_trials=5, n_workers=2, search_space=space))
    assert report.stop_reason == "exhausted"
    assert [trial.params["kind"] for trial in study.trials] in (list(choices), list(reversed(choices)))
    axis = Axis("kind", space["kind"])
    assert {axis.place(trial.params["kind"]) for trial in study.trials} == {0, 1}


def test_a_trial_with_a_parameter_of_another_kind_says_nothing_about_the_others_alone() -> None:
    study = optuna.create_study(sampler=sampler(Script({"x": 0.5, "y": "a"}), search_space=BOTH))
    old = {"x": CategoricalDistribution(("auto",)), "y": BOTH["y"]}
    study.add_trial(create_trial(value=1.0, params={"x": "auto", "y": "a"}, distributions=old))
    (proposal,) = anyio.run(llm_sampler(study).propose, study)
    assert proposal.provenance["calls"] == 1
    assert proposal.provenance["duplicate_of"] is None


BOTH = {"x": FloatDistribution(0.0, 1.0), "y": CategoricalDistribution(("a", "b"))}


def test_a_storage_that_does_not_answer_at_that_moment_holds_no_proposal_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "REREAD_SECONDS", 0.0)
    answers = threading.Event()
    study = optuna.create_study(sampler=sampler(Script({"x": 0.5}), search_space=ONE))
    llm_sampler(study).door(study).sharing.update(Share(place=0, processes=2))
    readings = [study.get_trials(deepcopy=False)]

    def read(*_: object, **__: object) -> object:
        if not readings:
            answers.wait(30)
        return readings[0] if answers.is_set() else readings.pop()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study._storage, "get_all_trials", read)
        (proposal,) = anyio.run(llm_sampler(study).propose, study)
        readings.append([])
        answers.set()
    assert proposal.params == {"x": 0.5}
    assert "could not be read again" in caplog.text


OLD = [IntDistribution(1, 200), IntDistribution(1, 19, step=2), FloatDistribution(0.0, 1.0, step=0.05)]


@pytest.mark.parametrize(
    ("old", "new", "values"),
    [
        (OLD[0], IntDistribution(201, 210), [201, 205]),  # moved
        (OLD[0], IntDistribution(1, 5), [1, 5]),  # narrowed
        (OLD[1], IntDistribution(2, 20, step=2), [2, 4]),  # another grid
        (OLD[2], FloatDistribution(0.0, 1.0, step=0.25), [0.25, 0.75]),  # a coarser one
        (OLD[2], FloatDistribution(0.02, 0.2, step=0.06), [0.08, 0.14]),  # shifted by less than a step
    ],
    ids=str,
)
def test_only_what_the_present_range_holds_counts_as_used_up(old: Any, new: Any, values: list[float]) -> None:
    """As many trials as the new range has values, none of which it has."""
    script = Script(*[{"x": value} for value in [*values, values[0]]])
    study = optuna.create_study(sampler=sampler(script))
    step = old.step
    before = {round(old.low + step * index, 9) for index in range(round((old.high - old.low) / step) + 1)}
    for value in sorted(before - {round(new.low + new.step * index, 9) for index in range(40)}) * 3:
        study.add_trial(create_trial(value=1.0, params={"x": value}, distributions={"x": old}))
    report = anyio.run(lambda: optimize_async(study, constant, n_trials=2, search_space={"x": new}))
    assert (report.stop_reason, report.llm_calls, report.duplicates) == ("n_trials", 2, 0)
    study.sampler = sampler(Script({"x": values[0]}), search_space={"x": new})
    (proposal,) = anyio.run(llm_sampler(study).propose, study)
    assert isinstance(proposal.provenance["duplicate_of"], int)
    assert proposal.provenance["reasks"] == 2


@pytest.mark.parametrize("strategy", ["menu", "adaptive"])
def test_a_narrowed_space_is_exhausted_once_all_of_it_was_tried(strategy: str) -> None:
    study = optuna.create_study(sampler=sampler(everything(), strategy=strategy))
    wide = {**FEW, "n": IntDistribution(1, 50)}
    for number in range(4, 50):
        study.add_trial(create_trial(value=1.0, params={"n": number, "c": "a"}, distributions=wide))
    report = anyio.run(lambda: optimize_async(study, constant, n_trials=50, search_space=FEW))
    assert report.stop_reason == "exhausted"
    assert {(t.params["n"], t.params["c"]) for t in study.trials[46:]} == {
        (n, c) for n in (1, 2, 3) for c in ("a", "b")
    }
