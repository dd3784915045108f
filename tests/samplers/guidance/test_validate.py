"""A strategy of one's own decides what is asked; what no ask could be told is an error that names it."""

from decimal import Decimal
from typing import Any

import numpy as np
import optuna
import pytest
from support import SPACE, SchemaModel, prompt, sampler

from optuna_llm import Guidance, Situation, UsageError, optimize_async


class Own:
    """A user's strategy."""

    name = "own"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Situation] = []

    def guide(self, situation: Situation) -> Any:
        self.seen.append(situation)
        return self.answer


LAYERS = [{"lr": 0.01, "momentum": 0.5, "layers": layers, "optimizer": None} for layers in (3, 7)]


@pytest.mark.asyncio
async def test_a_strategy_of_ones_own_sees_the_study_and_decides_what_is_offered() -> None:
    own = Own(Guidance(strategy="own", role="my role", reason="to be bold", words="Be bold.", candidates=LAYERS))
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy=own))
    await optimize_async(study, lambda trial: trial.params["layers"], n_trials=2, search_space=SPACE)
    assert {trial.params["layers"] for trial in study.trials} == {3, 7}
    assert all("Be bold.\nTake it from these candidates:" in prompt(request) for request in model.requests)
    record = study.trials[0].user_attrs["llm"]
    assert [record[key] for key in ("strategy", "role", "reason", "form")] == ["own", "my role", "to be bold", "menu"]
    assert own.seen[-1].evidence.best(1)[0].value == study.trials[0].value
    assert own.seen[-1].is_known(study.trials[0].params)
    assert not own.seen[-1].is_known({**study.trials[0].params, "layers": 9})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("refine", r"guide\(\) must return a Guidance, not 'refine'"),
        ({"candidates": [{"rate": 1}]}, "a candidate names 'rate', but asked for are 'lr', 'momentum'"),
        ({"candidates": [{"layers": 4}]}, "a candidate has 4 for 'layers', which is not in"),
        ({"candidates": [{"optimizer": "lion"}]}, "a candidate has 'lion' for 'optimizer'"),
        ({"candidates": [{}]}, "a candidate has none of the parameters that are asked for"),
        ({"candidates": {"lr": 0.01}}, "candidates must be a list of mappings from names to values, not"),
        ({"candidates": None}, "candidates must be a list of mappings from names to values, not None"),
        ({"candidates": ["lr"]}, "candidates must be a list of mappings"),
        ({"candidates": [{"layers": True}]}, "a candidate has True for 'layers', which is not in"),
        ({"candidates": [{"lr": "0.01"}]}, "a candidate has '0.01' for 'lr', which is not in"),
        ({"candidates": [{"lr": Decimal("0.01")}]}, r"a candidate has Decimal\('0.01'\) for 'lr', which is not in"),
        ({"candidates": LAYERS, "expected": [1.0]}, "expected must be one number for each candidate, not"),
        ({"candidates": LAYERS, "expected": ["a", "b"]}, "expected must be one number for each candidate, not"),
        ({"words": 5}, "words must be a string, not 5"),
        ({"strategy": 5}, "strategy must be a string, not 5"),
        ({"role": None}, "role must be a string, not None"),
        ({"summary": "one line"}, "summary must be a tuple of strings, not 'one line'"),
    ],
)
async def test_what_no_ask_could_be_told_is_an_error_that_says_which_part(answer: Any, message: str) -> None:
    own = Own(Guidance(**{"strategy": "own", **answer}) if isinstance(answer, dict) else answer)
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=own))
    with pytest.raises(UsageError, match=f"strategy 'own': {message}"):
        await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    assert study.trials == []


@pytest.mark.asyncio
async def test_numbers_of_other_libraries_stand_on_the_trials_as_pythons_own() -> None:
    candidate = {"lr": np.float32(0.01), "momentum": 1, "layers": np.int64(3), "optimizer": np.str_("sgd")}
    own = Own(Guidance(strategy="own", candidates=[candidate], expected=[np.float64(0.5)]))
    study = optuna.create_study(sampler=sampler(SchemaModel(), strategy=own))
    await optimize_async(study, lambda trial: 0.0, n_trials=1, search_space=SPACE)
    params = study.trials[0].params
    assert {name: type(value) for name, value in params.items()} == {
        "lr": float,
        "momentum": float,
        "layers": int,
        "optimizer": str,
    }


def test_a_strategy_needs_a_name_that_can_stand_on_the_trials() -> None:
    own = Own(Guidance(strategy="own"))
    own.name = 5  # type: ignore[assignment]
    with pytest.raises(UsageError, match="must be a string, not 5"):
        sampler(SchemaModel(), strategy=own)


@pytest.mark.asyncio
async def test_candidates_of_ones_own_yield_to_what_is_fixed() -> None:
    own = Own(Guidance(strategy="own", candidates=LAYERS))
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy=own))
    study.enqueue_trial({"layers": 5})
    await optimize_async(study, lambda trial: 0.0, n_trials=2, search_space=SPACE)
    assert [trial.params["layers"] in (3, 7) for trial in study.trials] == [False, True]
    assert "layers" not in prompt(model.requests[0]).partition("candidates:\n")[2].splitlines()[0]
