"""From one way of asking to the next: which refusal leads where, and what is sent then."""

from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from optuna_llm.samplers.client import ClientError
from optuna_llm.samplers.client.structured_output import without_refused
from optuna_llm.samplers.space.reply_model import json_schema
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.wire.ladder import CALL_IT, MODES, Manner, Mode, completion_arguments, thinks
from optuna_llm.samplers.wire.schemas import BOUNDS, MOST_CHOICES, MOST_CHOICES_IN_ALL

MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "kind": CategoricalDistribution(tuple(f"k{number:03}" for number in range(300))),
    "few": CategoricalDistribution(("a", "b")),
}
MANY: dict[str, BaseDistribution] = {
    f"p{number}": CategoricalDistribution(tuple(f"c{number}-{choice}" for choice in range(12)))
    if number % 2
    else FloatDistribution(0.0, 1.0)
    for number in range(100)
}
SCHEMA = json_schema(make_space(SPACE))


def schema_in(sent: dict[str, Any]) -> dict[str, Any]:
    if "tools" in sent:
        found = sent["tools"][0]["function"]["parameters"]
    else:
        found = sent["response_format"]["json_schema"]["schema"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("refusal", "lower"),
    [
        ("For 'number' type, properties maximum, minimum are not supported", "json_schema_without_bounds"),
        ("Invalid schema for response_format: 'minimum' is not permitted", "json_schema_without_bounds"),
        ("Unsupported keyword 'multipleOf' in the schema", "json_schema_without_bounds"),
        ("Schema is too complex for compilation", "json_schema_without_bounds"),
        (
            "The specified schema produces a constraint that has too many states for serving",
            "json_schema_without_bounds",
        ),
        ("response_format: expected at most 1000 enum values in total within a schema", "json_schema_without_bounds"),
        ("Failed to initialize samplers: failed to parse grammar", "json_schema_without_bounds"),
        ("This response_format type is unavailable now", "tool"),
        ("json_schema is not supported by this model", "tool"),
        ("maximum of 9 tools", "tool"),
        ("the value of temperature is above the maximum", None),
    ],
)
def test_bounds_are_given_up_where_they_are_refused_and_the_schema_where_it_is(refusal: str, lower: str | None) -> None:
    left = without_refused(Manner(mode="json_schema"), ClientError(refusal, status=400))
    assert (left and left.mode) == lower


@pytest.mark.parametrize("mode", MODES[1:-1])
def test_a_mode_that_is_refused_for_bounds_again_is_left(mode: Mode) -> None:
    error = ClientError("schema: maximum is not supported", status=400)
    left = without_refused(Manner(mode=mode), error)
    assert left is not None
    assert left.mode == MODES[MODES.index(mode) + 1]


def test_a_call_that_is_forced_is_asked_for_where_thinking_forbids_it() -> None:
    error = ClientError("Thinking may not be enabled when tool_choice forces tool use.", status=400)
    left = without_refused(Manner(mode="tool"), error)
    assert left == Manner(mode="tool", forced=False)
    again = without_refused(left, error)
    assert again == Manner(mode="json_object", forced=False)
    # some routes make a forced call of a schema
    assert without_refused(Manner(mode="json_schema"), error) == Manner(mode="tool", forced=False)


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_marks_that_are_refused_are_given_up_and_nothing_else(status: int) -> None:
    error = ClientError("No endpoints found that support cache control", status=status)
    asked = Manner(mode="json_schema", marks=True)
    left = without_refused(asked, error)
    assert left == (None if status == 500 else Manner(mode="json_schema"))


def test_a_step_that_another_request_took_is_not_taken_twice() -> None:
    asked, left = Manner(mode="json_schema"), Manner(mode="tool")
    assert Manner(mode="json_object", room=9).following(asked, left) == Manner(mode="json_object", room=9)
    assert Manner(mode="json_schema", room=9).following(asked, left) == Manner(mode="tool", room=9)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (Manner(mode="tool", room=9), "marking nothing for the cache"),
        (Manner(mode="tool", room=9, forced=False, marks=True), "letting the model think before it calls"),
        (Manner(mode="tool", room=2, marks=True), "leaving less room for thoughts"),
        (Manner(mode="tool", room=99, marks=True), "leaving more room for thoughts"),
        (
            Manner(mode="prompt", room=9, forced=False, marks=True),
            "asking in mode 'prompt', letting the model think before it calls",
        ),
    ],
    ids=str,
)
def test_what_has_changed_is_said_and_nothing_else(left: Manner, words: str) -> None:
    assert left.words(Manner(mode="tool", room=9, marks=True)) == words


@pytest.mark.parametrize("mode", MODES)
def test_bounds_are_in_the_strictest_schema_alone(mode: Mode) -> None:
    sent = completion_arguments(MESSAGES, SCHEMA, mode)
    if mode in ("json_object", "prompt"):
        return
    words = {word for part in schema_in(sent)["properties"].values() for word in part}
    assert bool(words & set(BOUNDS)) is (mode == "json_schema")
    assert "description" in schema_in(sent)["properties"]["x"]


@pytest.mark.parametrize("mode", MODES)
def test_a_long_list_of_choices_is_told_in_words_and_not_compiled(mode: Mode) -> None:
    sent = completion_arguments(MESSAGES, SCHEMA, mode)
    told = sent["messages"][1]["content"]
    assert all(f'"k{number:03}"' in told for number in range(300))
    if mode not in ("json_object", "prompt"):
        assert "enum" not in schema_in(sent)["properties"]["kind"]
        assert schema_in(sent)["properties"]["few"]["enum"] == ["a", "b"]
        assert "few" not in told


def test_choices_that_the_prompt_names_are_not_told_again() -> None:
    words = ", ".join(f'"k{number:03}"' for number in range(300))
    messages = [{"role": "system", "content": words}, {"role": "user", "content": "u"}]
    assert completion_arguments(messages, SCHEMA, "json_schema")["messages"] == messages


@pytest.mark.parametrize("mode", ["json_schema", "json_schema_without_bounds", "tool"])
def test_a_hundred_parameters_stay_within_what_is_compiled(mode: Mode) -> None:
    sent = schema_in(completion_arguments(MESSAGES, json_schema(make_space(MANY)), mode))
    sizes = [len(part.get("enum", ())) for part in sent["properties"].values()]
    assert max(sizes) <= MOST_CHOICES
    assert 0 < sum(sizes) <= MOST_CHOICES_IN_ALL
    assert len(sent["properties"]) == 101


@pytest.mark.parametrize("mode", MODES)
def test_reasons_come_first_in_every_mode(mode: Mode) -> None:
    sent = completion_arguments(MESSAGES, SCHEMA, mode, ordered=True)
    if mode in ("json_object", "prompt"):
        example = sent["messages"][1]["content"].partition("placeholders:\n")[2]
        assert example.startswith('{"rationale"')
        return
    schema = schema_in(sent)
    assert next(iter(schema["properties"])) == schema["required"][0] == "rationale"
    assert ("propertyOrdering" in schema) is (mode == "tool")
    if mode == "tool":
        assert schema["propertyOrdering"] == list(schema["properties"])


def test_a_call_that_is_not_forced_is_asked_for_in_words() -> None:
    sent = completion_arguments(MESSAGES, SCHEMA, "tool", forced=False)
    assert sent["tool_choice"] == "auto"
    assert sent["messages"][1]["content"].endswith(CALL_IT)
    assert CALL_IT not in completion_arguments(MESSAGES, SCHEMA, "tool")["messages"][1]["content"]


@pytest.mark.parametrize(
    ("extra", "on"),
    [
        ({}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning": {"effort": "high"}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"extra_body": {"reasoning": {"max_tokens": 2000}}}, True),
        ({"extra_body": {"thinking": {"type": "disabled"}}}, False),
        ({"extra_body": None, "temperature": 1}, False),
    ],
    ids=str,
)
def test_thinking_is_seen_in_the_users_own_arguments(extra: dict[str, Any], on: bool) -> None:
    assert thinks(extra) is on
