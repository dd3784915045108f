"""A strategy of one's own decides what is asked; what no ask could be told is an error that names it."""

from decimal import Decimal
from typing import Any

import numpy as np
import optuna
import pytest
from support import SPACE, SchemaModel, prompt, sampler

from optuna_llm import Guidance, Situation, UsageError, optimize_async
from optuna_llm.samplers.space.axes import Choices, Interval


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
        ({"region": {"lr": Interval(low="a", high=0.01)}}, "its region has an Interval with the ends 'a' and 0.01"),  # type: ignore[arg-type]
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
        "lr": Interval(low=np.float32(0.001), high=np.float64(0.1)),  # type: ignore[arg-type]
        "layers": Interval(low=np.int64(3), high=5.0),  # type: ignore[arg-type]
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
