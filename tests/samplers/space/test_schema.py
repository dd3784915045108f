import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm.samplers.space.reply_model import conform, json_schema
from optuna_llm.samplers.space.space import make_space

SPACE = make_space(
    {
        "model/lr max": FloatDistribution(1e-5, 0.1, log=True),
        "layers": IntDistribution(1, 8),
        "opt": CategoricalDistribution(["adam", None, "1", 1]),
        "only": IntDistribution(3, 3),
    }
)
LABELS = ["adam", "null", '"1"', "1 (int)"]


def test_the_whole_schema_of_a_small_space() -> None:
    assert json_schema(SPACE) == {
        "type": "object",
        "properties": {
            "rationale": {"type": "string", "description": "why this configuration, in at most 40 words"},
            "model_lr_max": {
                "type": "number",
                "minimum": 1e-5,
                "maximum": 0.1,
                "description": '"model/lr max": a number from 1e-05 to 0.1, log scale',
            },
            "layers": {"type": "integer", "minimum": 1, "maximum": 8, "description": "an integer from 1 to 8"},
            "opt": {"type": "string", "enum": LABELS},
        },
        "required": ["rationale", "model_lr_max", "layers", "opt"],
        "additionalProperties": False,
    }


def test_the_rationale_comes_first_and_can_be_left_out() -> None:
    assert next(iter(json_schema(SPACE)["properties"])) == "rationale"
    assert "rationale" not in json_schema(SPACE, rationale=False)["properties"]


def test_a_space_without_a_choice_asks_for_no_parameter() -> None:
    assert json_schema(make_space({"x": IntDistribution(3, 3)}), rationale=False)["properties"] == {}


def test_equal_spaces_share_one_schema() -> None:
    assert json_schema(SPACE) is json_schema(make_space(dict(SPACE.distributions)))


def test_true_and_one_do_not_share_a_schema() -> None:
    numbers = json_schema(make_space({"x": CategoricalDistribution([1, 0])}))
    flags = json_schema(make_space({"x": CategoricalDistribution([True, False])}))
    assert numbers["properties"]["x"]["enum"] == ["1", "0"]
    assert flags["properties"]["x"]["enum"] == ["true", "false"]


@given(st.dictionaries(st.text(max_size=80), st.sampled_from(list(SPACE.distributions.values())), min_size=1))
def test_a_schema_is_flat_closed_and_plain_for_any_names(distributions: dict[str, Any]) -> None:
    schema = json_schema(make_space(distributions))
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,64}", key) for key in schema["properties"])
    text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    assert text.encode()
    assert text.isprintable()
    for field in schema["properties"].values():
        assert field["type"] in ("string", "number", "integer")
        assert field.keys() <= {"type", "description", "enum", "minimum", "maximum"}


@given(st.data())
def test_what_follows_the_schema_conforms_without_repairs(data: st.DataObject) -> None:
    answer: dict[str, Any] = {}
    for key, field in json_schema(SPACE)["properties"].items():
        if "enum" in field:
            answer[key] = data.draw(st.sampled_from(field["enum"]))
        elif field["type"] == "string":
            answer[key] = data.draw(st.text())
        elif field["type"] == "integer":
            answer[key] = data.draw(st.integers(field["minimum"], field["maximum"]))
        else:
            answer[key] = data.draw(st.floats(field["minimum"], field["maximum"]))
    result = conform(answer, SPACE)
    assert result.violations == ()
    assert result.repairs == ()
