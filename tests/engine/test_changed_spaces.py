"""A space that the study, or its storage, cannot take is refused before anything is asked, on every storage alike."""

import enum
import functools
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from member_storage import opened
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial
from support import SchemaModel, llm_sampler, sampler

from optuna_llm import RunReport, UsageError, ask_async, optimize_async

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")

CHANGED_KIND = r"parameter 'x' is .* but was "
STORAGES = ["memory", "journal", "sqlite", "postgresql"]
PERSISTENT = STORAGES[1:]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    places = {"memory": None, "journal": f"journal:{tmp_path / 'log'}", "sqlite": f"sqlite:///{tmp_path / 'study.db'}"}
    return places[request.param] if request.param in places else str(request.getfixturevalue("postgresql"))


def study_on(
    url: str | None, before: BaseDistribution | None = None, value: Any = None, **options: Any
) -> optuna.Study:
    study = optuna.create_study(storage=None if url is None else opened(url), **options)
    if before is not None:
        study.add_trial(create_trial(params={"x": value}, distributions={"x": before}, value=1.0))
    return study


def run(study: optuna.Study, space: Any, n_trials: int = 3, **options: Any) -> RunReport:
    return anyio.run(
        functools.partial(optimize_async, study, lambda trial: 1.0, n_trials=n_trials, search_space=space, **options)
    )


CHANGED: list[tuple[BaseDistribution, Any, BaseDistribution]] = [
    (CategoricalDistribution(("a", "b")), "a", CategoricalDistribution(("a", "b", "c"))),
    (CategoricalDistribution(("a", "b")), "a", CategoricalDistribution(("b", "a"))),
    (FloatDistribution(1, 9), 2.0, FloatDistribution(1, 9, log=True)),
    (FloatDistribution(1, 9), 2.0, IntDistribution(1, 9)),
    (IntDistribution(1, 9), 2, CategoricalDistribution((1, 2))),
]


@pytest.mark.parametrize("url", STORAGES, indirect=True)
@pytest.mark.parametrize("ours", [True, False])
def test_another_kind_is_refused_before_anything_is_asked(url: str | None, ours: bool) -> None:
    for number, (before, value, now) in enumerate(CHANGED):
        model, space = SchemaModel(), {"x": now}
        chosen = sampler(model) if ours else optuna.samplers.RandomSampler(seed=0)
        study = study_on(url, before, value, study_name=str(number), sampler=chosen)
        for options in ({"n_workers": 2}, {"total_trials": 9}):
            with pytest.raises(UsageError, match=CHANGED_KIND):
                run(study, space, **options)
        if ours:
            with pytest.raises(UsageError, match=CHANGED_KIND):
                anyio.run(functools.partial(ask_async, study, 2, search_space=space))
        assert len(study.trials) == 1
        assert model.requests == []


@pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)
def test_drop_in_code_is_refused_before_anything_is_asked_too(url: str | None) -> None:
    for number, (before, value, now) in enumerate(CHANGED):
        for declared in ({"x": now}, None):
            model, name = SchemaModel(), f"{number} {declared is None}"
            chosen = sampler(model, search_space=declared)
            study = study_on(url, before, value, study_name=name, sampler=chosen)
            if declared is None:  # the trial's own range is met too late to be refused before
                trial = study.ask()
                with pytest.raises(UsageError, match=CHANGED_KIND):
                    llm_sampler(study).sample_independent(study, study.trials[trial.number], "x", now)
            else:
                with pytest.raises(UsageError, match=CHANGED_KIND):
                    study.optimize(functools.partial(optuna.Trial._suggest, name="x", distribution=now), n_trials=1)
            assert model.requests == []
            assert [trial.state.name for trial in study.trials[1:]] == ["RUNNING" if declared is None else "FAIL"]


@pytest.mark.parametrize("url", STORAGES, indirect=True)
def test_bounds_and_steps_may_change(url: str | None) -> None:
    for number, (before, value, now) in enumerate(
        [
            (IntDistribution(1, 200), 30, IntDistribution(201, 210)),
            (FloatDistribution(0, 1), 0.5, FloatDistribution(-5, -1)),
            (FloatDistribution(0, 1, step=0.1), 0.5, FloatDistribution(0, 2, step=0.25)),
            (FloatDistribution(0, 1, step=0.1), 0.5, FloatDistribution(0, 2)),
            (FloatDistribution(1, 9, log=True), 0.5 + 1, FloatDistribution(0.1, 1, log=True)),
            (
                CategoricalDistribution(("a", float("nan"), None)),
                "a",
                CategoricalDistribution(("a", float("nan"), None)),
            ),
        ]
    ):
        study = study_on(url, before, value, study_name=str(number), sampler=sampler())
        assert run(study, {"x": now}).n_complete == 3


class Kind(enum.IntEnum):
    ONE = 1
    TWO = 2


def some_function() -> None:
    """A choice that no JSON holds."""


@pytest.mark.parametrize("url", PERSISTENT, indirect=True)
@pytest.mark.parametrize("ours", [True, False])
def test_what_a_storage_cannot_give_back_is_refused_before_anything_is_asked(url: str, ours: bool) -> None:
    lost: list[Any] = [
        (some_function, 1),
        ((1, 2), (3, 4)),
        (1, True),
        (0, "a", 0.0),
        ({1: 2}, 3),
        (b"a", b"b"),
        (2j, 1),
    ]
    model = SchemaModel()
    chosen = sampler(model) if ours else optuna.samplers.RandomSampler(seed=0)
    study = study_on(url, sampler=chosen)
    for choices in lost:
        space: dict[str, BaseDistribution] = {"x": CategoricalDistribution(choices)}
        with pytest.raises(UsageError, match="cannot give back the choice"):
            run(study, space)
    for name in ("a\0b", "n" * 513, "\ud800"):
        space = {name: FloatDistribution(0, 1)}
        with pytest.raises(UsageError, match="parameter name"):
            run(study, space)
    assert study.trials == []
    assert model.requests == []


@pytest.mark.parametrize("url", ["journal", "sqlite"], indirect=True)
def test_drop_in_code_says_so_as_well(url: str) -> None:
    model = SchemaModel()
    study, choices = study_on(url, sampler=sampler(model)), [(1, 2), (3, 4)]
    with pytest.raises(UsageError, match="cannot give back the choice"):
        study.optimize(lambda trial: trial.suggest_categorical("x", choices)[0], n_trials=1)  # type: ignore
    assert model.requests == []


@pytest.mark.parametrize("url", PERSISTENT, indirect=True)
def test_what_a_storage_gives_back_as_it_was_is_taken(url: str) -> None:
    kept: list[Any] = [
        tuple(Kind),
        (None, True, "1", 1.5),
        (float("inf"), float("nan")),
        ("\ud800", "a\0"),
        ([1], {"a": 1}),
    ]
    for number, choices in enumerate(kept):
        study = study_on(url, study_name=str(number), sampler=sampler())
        space = {"x": CategoricalDistribution(choices), "y" * 512: FloatDistribution(0, 1)}
        assert run(study, space).n_complete == 3


def test_in_memory_any_object_is_a_choice() -> None:
    study = study_on(None, sampler=sampler())
    choices: Any = (some_function, (1, 2), 3)
    assert run(study, {"x": CategoricalDistribution(choices)}).n_complete == 3
