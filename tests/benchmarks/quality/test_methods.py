"""The methods that are compared, and the stand-in for a model."""

import json

from benchmark_support import SPACE

from benchmarks.quality.methods import METHODS, Drawing
from benchmarks.quality.strategies import ABLATIONS
from optuna_llm import Request
from optuna_llm.samplers.space.menu_reply import menu_schema
from optuna_llm.samplers.space.space import make_space


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


def test_the_stand_in_takes_any_candidate_of_a_menu_by_its_number() -> None:
    model, schema = Drawing(0), menu_schema(make_space(SPACE), 3)
    drawn = [json.loads(model(Request(messages=[], schema=schema)).text) for _ in range(60)]
    assert {one["candidate"] for one in drawn} == {1, 2, 3}


def test_every_method_that_is_said_to_exist_does() -> None:
    optuna = {"random", "tpe", "gp", "cma", "qmc", "tpe-early", "gp-early", "tpe-index", "gp-index", "cma-index"}
    controls = {"menu-no-model"}
    llm = {"plain", "plain-no-facts", "menu", "adaptive", "adaptive-anonymised"}
    llm |= {f"adaptive-{name}" for name in ABLATIONS}
    assert METHODS.keys() == optuna | controls | llm
    assert {name for name, method in METHODS.items() if method.model} == llm
