import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm.samplers.space.reply import MAX_LENGTH, Parsed, parse
from optuna_llm.samplers.space.reply_model import conform
from optuna_llm.samplers.space.space import make_space

CORPUS = Path(__file__).parent / "corpus"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
SPACE = make_space(
    {
        "lr": FloatDistribution(1e-5, 0.1, log=True),
        "batch": IntDistribution(8, 128, step=8),
        "dropout": FloatDistribution(0.0, 0.5, step=0.1),
        "optimizer": CategoricalDistribution(["adam", "sgd", None]),
        "bias": CategoricalDistribution([True, False]),
    }
)
HOSTILE = {
    "open braces": "{" * MAX_LENGTH,
    "open brackets": "[" * MAX_LENGTH,
    "open objects": '{"a":' * (MAX_LENGTH // 5),
    "open arrays in an object": '{"a":' + "[" * (MAX_LENGTH - 5),
    "empty objects": "{}" * (MAX_LENGTH // 2),
    "crossed braces": "{" + "}{" * (MAX_LENGTH // 2 - 1),
    "quotes": '{"' * (MAX_LENGTH // 2),
    "escaped quotes": '{"' + '\\"' * (MAX_LENGTH // 2 - 1),
    "open thoughts": "<think>" * (MAX_LENGTH // 7),
    "closed thoughts": "</think>" * (MAX_LENGTH // 8),
    "thoughts in braces": "{ </think>" * (MAX_LENGTH // 10),
    "thoughts in strings": '{"</think>{\\"' * (MAX_LENGTH // 13),
    "one brace before many thoughts": "{" + "</think>" * (MAX_LENGTH // 8 - 1),
    "backslashes": '{"' + "\\" * (MAX_LENGTH - 2),
}


def text_of(case: str) -> str:
    return (CORPUS / f"{case}.txt").read_bytes().decode()


def test_every_file_of_the_corpus_has_an_expectation() -> None:
    assert {path.stem for path in CORPUS.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_hostile_replies_give_exactly_what_is_expected(case: str) -> None:
    expected = EXPECTED[case]
    parsed = parse(text_of(case), expected.get("finish_reason"))
    if parsed.values is not None:
        result = conform(parsed.values, SPACE)
        params, repairs, violations = result.params, result.repairs, result.violations
    else:
        params, repairs, violations = None, (), (parsed.violation or "",)
    assert params == expected["params"]
    if params is not None:
        assert list(repairs) == expected.get("repairs", [])
        assert parsed.rationale == expected.get("rationale")
    assert len(violations) == len(expected.get("violations", []))
    for said, fragment in zip(violations, expected.get("violations", []), strict=True):
        assert fragment in said
        assert said.isprintable()
        assert len(said) < 250


def test_a_reply_of_a_megabyte_is_refused_unread() -> None:
    parsed = parse('{"lr": 0.01, "rationale": "' + "x" * 1_000_000 + '"}')
    assert parsed.values is None
    assert "longer than 100000 characters" in str(parsed.violation)


@pytest.mark.parametrize("case", HOSTILE)
def test_text_made_to_exhaust_the_parser_is_a_violation(case: str) -> None:
    parsed = parse(HOSTILE[case])
    assert parsed.values is None
    assert parsed.violation


def seconds(call: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("case", HOSTILE)
def test_reading_takes_no_more_than_linear_time(case: str) -> None:
    text = HOSTILE[case]
    short, whole = text[: len(text) // 16], text
    assert seconds(lambda: parse(whole)) <= 64 * seconds(lambda: parse(short)) + 0.02


@given(st.text(), st.none() | st.sampled_from(["stop", "length", "content_filter", "tool_calls"]))
def test_any_text_gives_values_or_a_violation(text: str, finish_reason: str | None) -> None:
    parsed = parse(text, finish_reason)
    assert (parsed.values is None) == (parsed.violation is not None)


@given(st.text(alphabet='{}[]",:\\ \n<>/think1e-NaN\ufeff', max_size=80))
def test_any_text_of_json_characters_gives_values_or_a_violation(text: str) -> None:
    parsed = parse(text)
    assert (parsed.values is None) == (parsed.violation is not None)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
documents = st.dictionaries(st.text(st.characters(codec="utf-8")).filter(lambda key: key != "rationale"), scalars)


@given(documents, st.sampled_from(["{}", "```json\n{}\n```", "Here: {} done", "<think>{{1}}</think>{}"]))
def test_any_flat_document_is_read_as_it_is(document: dict[str, Any], around: str) -> None:
    parsed = parse(around.format(json.dumps(document)))
    assert parsed == Parsed(values=document, rationale=None, violation=None)


@given(documents, st.data())
def test_no_cut_document_ever_gives_a_value(document: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(document)
    cut = data.draw(st.integers(1, len(text) - 1))
    assert parse(text[:cut]).values is None


@pytest.mark.parametrize("wrapper", ["parameters", "params", "configuration", "config"])
def test_a_configuration_one_level_down_is_unwrapped(wrapper: str) -> None:
    parsed = parse(json.dumps({"rationale": "why", wrapper: {"lr": 0.01}}))
    assert parsed == Parsed(values={"lr": 0.01}, rationale="why", violation=None)


@pytest.mark.parametrize(
    "document",
    [
        {"parameters": {"lr": 0.01}, "params": {"lr": 0.02}},
        {"parameters": {"lr": 0.01}, "lr": 0.02},
        {"parameters": [{"lr": 0.01}]},
        {"params": 3},
        {"anything": {"lr": 0.01}},
    ],
)
def test_what_is_not_clearly_a_wrapped_configuration_stays_as_it_is(document: dict[str, Any]) -> None:
    assert parse(json.dumps(document)).values == document


def test_braces_of_prose_may_stand_around_the_object() -> None:
    assert parse('{{"lr": 1}}').values == {"lr": 1}
    assert parse('the set {x: {"lr": 1}} is best').values == {"lr": 1}


@pytest.mark.parametrize("rest", ["{", ' {"', ' {"lr"', ' {"lr": 1', "\n{\n"])
def test_a_whole_object_beside_one_that_is_cut_off_is_a_violation(rest: str) -> None:
    assert "cut off" in str(parse('{"lr": 1}' + rest).violation)


def test_the_same_configuration_said_twice_for_other_reasons_is_one() -> None:
    assert parse('{"rationale": "a", "lr": 1} {"rationale": "b", "lr": 1}').values == {"lr": 1}


def test_objects_that_differ_only_in_type_differ() -> None:
    assert "2 different JSON objects" in str(parse('{"lr": 1} {"lr": true}').violation)


def test_a_long_rationale_is_cut_at_500_characters() -> None:
    rationale = parse(json.dumps({"rationale": "because " * 1000, "lr": 1})).rationale
    assert rationale is not None
    assert len(rationale) <= 500
    assert rationale.endswith("...")


def test_white_space_in_the_rationale_is_collapsed() -> None:
    assert parse('{"rationale": "  one\\n\\n two\\t three "}').rationale == "one two three"


def test_not_a_number_passes_here_and_is_refused_by_conform() -> None:
    parsed = parse('{"lr": NaN, "batch": 1e999}')
    assert parsed.violation is None
    assert parsed.values is not None
    assert conform(parsed.values, SPACE).params is None
