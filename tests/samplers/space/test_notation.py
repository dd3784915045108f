import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm.engine.foreign_text import clean
from optuna_llm.samplers.space.notation import (
    DIGITS,
    FLOAT_DIGITS,
    digits_apart,
    format_number,
    format_value,
    in_words,
    labels,
    redact,
    show,
)
from optuna_llm.samplers.space.reply_model import conform
from optuna_llm.samplers.space.space import make_space

LR = FloatDistribution(1e-5, 0.1, log=True)


def read_back(text: str, distribution: BaseDistribution) -> Any:
    space = make_space({"x": distribution})
    answer = text if isinstance(distribution, CategoricalDistribution) else json.loads(text)
    result = conform({"x": answer}, space)
    assert result.params is not None, result.violations
    assert result.repairs == ()
    return result.params["x"]


@pytest.mark.parametrize(
    ("value", "distribution", "text"),
    [
        (0.00123456, LR, "0.001235"),
        (1e-5, LR, "1e-05"),
        (0.1, LR, "0.1"),
        (0.5, FloatDistribution(0, 1), "0.5"),
        (1.0, FloatDistribution(0, 1), "1"),
        (-0.0, FloatDistribution(0, 1), "0"),
        (1000.12345, FloatDistribution(1000, 1001), "1000.1235"),
        (12345.678, FloatDistribution(0, 1e6), "12350"),
        (1.23456e10, FloatDistribution(0, 1e12), "1.235e+10"),
        (1.23456, FloatDistribution(0, 1.23456), "1.23456"),
        (0.30000000000000004, FloatDistribution(0, 1, step=0.1), "0.3"),
        (0.00125, FloatDistribution(0, 1, step=0.00025), "0.00125"),
        (64, IntDistribution(8, 128, step=8), "64"),
        (123456789, IntDistribution(1, 10**9, log=True), "123456789"),
        ("adam", CategoricalDistribution(["adam", "sgd"]), "adam"),
        (True, CategoricalDistribution([True, False]), "true"),
        (None, CategoricalDistribution([None, "a"]), "null"),
        (1, CategoricalDistribution([1, "1"]), "1 (int)"),
    ],
)
def test_a_value_is_written_with_as_many_digits_as_its_range_needs(
    value: Any, distribution: BaseDistribution, text: str
) -> None:
    assert format_value(value, distribution) == text


def test_bounds_are_written_exactly() -> None:
    distribution = FloatDistribution(0.1234567, 9.87654321)
    assert format_value(distribution.low, distribution) == "0.1234567"
    assert format_value(distribution.high, distribution) == "9.87654321"


@pytest.mark.parametrize("distribution", [LR, IntDistribution(1, 3), CategoricalDistribution(["a", "b"])])
@pytest.mark.parametrize("value", [None, "fast", True, 10**400, math.inf, math.nan, [1], 7.5, -3])
def test_a_value_that_does_not_belong_is_written_all_the_same(value: Any, distribution: BaseDistribution) -> None:
    assert 0 < len(format_value(value, distribution)) < 100


@given(st.data())
def test_a_float_reads_back_within_a_thousandth_of_its_range(data: st.DataObject) -> None:
    ends = data.draw(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)))
    low, high = sorted(end + 0.0 for end in ends)  # -0.0 becomes 0.0: from 0.0 to -0.0 nothing can be drawn
    distribution = FloatDistribution(low, high)
    value = data.draw(st.floats(low, high))
    assert abs(read_back(format_value(value, distribution), distribution) - value) <= 1e-3 * (high - low)


@given(st.data())
def test_a_log_float_reads_back_within_a_thousandth_of_its_log_range(data: st.DataObject) -> None:
    low, high = sorted((data.draw(st.floats(1e-300, 1e300)), data.draw(st.floats(1e-300, 1e300))))
    distribution = FloatDistribution(low, high, log=True)
    value = data.draw(st.floats(low, high))
    moved = abs(math.log(read_back(format_value(value, distribution), distribution)) - math.log(value))
    assert moved <= 1e-3 * math.log(high / low) + 1e-12


@given(st.integers(0, 202))
def test_a_grid_point_reads_back_as_itself(index: int) -> None:
    distribution = FloatDistribution(-10.2, 10.0, step=0.1)
    value = conform({"x": -10.2 + index * 0.1}, make_space({"x": distribution})).params
    assert value is not None
    assert read_back(format_value(value["x"], distribution), distribution) == value["x"]


@given(st.data())
def test_an_int_reads_back_as_itself(data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2**53), 2**53))
    assert read_back(format_value(value, IntDistribution(-(2**53), 2**53)), IntDistribution(-(2**53), 2**53)) == value


@example(choices=["", '""'])
@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), min_size=2, unique=True))
def test_a_choice_reads_back_as_itself(choices: list[Any]) -> None:
    distribution = CategoricalDistribution(choices)
    for choice in distribution.choices:
        assert read_back(format_value(choice, distribution), distribution) is choice


@given(st.one_of(st.floats(-1e308, 1e308), st.integers(-(10**300), 10**300)))
def test_an_objective_value_keeps_four_digits_and_is_stable(value: float) -> None:
    text = format_number(value)
    assert len(text) <= 12
    assert float(text) == pytest.approx(float(value), rel=5.1e-4)
    assert format_number(float(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (3.0, "3"),
        (0.0, "0"),
        (-0.0, "0"),
        (123456.0, "123500"),
        (1e-9, "1e-09"),
        (123456789.0, "1.235e+08"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_an_objective_value_is_short(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("values", "digits"),
    [
        ([], 4),
        ([0.5], 4),
        ([0.5, 0.5, 0.5], 4),
        ([0.1234, 0.1235], 4),
        ([0.12341, 0.12342], 5),
        ([0.12341, 0.12342, 0.5], 5),
        ([-0.12341, 0.12341], 4),
        ([1234567.0, 1234568.0], 7),
        ([1.0, 1.0 + 2**-52], 17),
        ([math.inf, -math.inf, 1.0], 4),
    ],
)
def test_values_that_differ_have_as_many_digits_as_tell_them_apart(values: list[float], digits: int) -> None:
    assert digits_apart(values) == digits


@given(st.lists(st.floats(allow_nan=False), max_size=8))
def test_with_those_digits_different_values_read_differently(values: list[float]) -> None:
    digits = digits_apart(values)
    assert DIGITS <= digits <= FLOAT_DIGITS
    assert len({format_number(value, digits) for value in values}) == len(set(values))
    if digits > DIGITS:
        assert len({format_number(value, digits - 1) for value in values}) < len(set(values))


@pytest.mark.parametrize(
    ("choices", "texts"),
    [
        (["adam", "sgd"], ("adam", "sgd")),
        ([True, None, 16, 0.5], ("true", "null", "16", "0.5")),
        (["1", 1, 2], ('"1"', "1 (int)", "2")),
        (["null", None], ('"null"', "null (NoneType)")),
        ([True, 1], ("true", "1")),
        (["", "a"], ('""', "a")),
        (["a\nb", "c"], ("a b", "c")),
        (["a\nb", "a b"], ('"a\\nb"', '"a b"')),
        (["a", "a"], ('"a"', "a #2")),
        ([(64, 64), (64,)], ("(64, 64)", "(64,)")),
        ([0.00027825594, 0.0021544347, 1.0], ("0.0002783", "0.002154", "1.0")),
        ([0.1234561, 0.1234612, 0.5], ("0.123456", "0.123461", "0.5")),
        ([0.12345678, "0.1235"], ("0.1235 (float)", '"0.1235"')),
        ([1.7976931348623157e308, math.inf], ("1.7976931348623157e+308", "Infinity")),
    ],
)
def test_labels_are_unambiguous(choices: list[Any], texts: tuple[str, ...]) -> None:
    assert labels(choices) == texts


def test_long_labels_are_cut_and_stay_unique() -> None:
    texts = labels(["x" * 1000 + "a", "x" * 1000 + "b", "x" * 1000 + "c"])
    assert len(set(texts)) == 3
    assert max(map(len, texts)) < 80


def test_the_label_of_an_object_holds_no_address() -> None:
    assert "0x" not in labels([object(), 1])[0]


def test_labels_of_true_and_of_one_are_not_confused_by_the_cache() -> None:
    assert labels([1, 0]) == ("1", "0")
    assert labels([True, False]) == ("true", "false")


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        (LR, "a number from 1e-05 to 0.1, log scale"),
        (FloatDistribution(0, 1, step=0.25), "a number from 0 to 1 in steps of 0.25"),
        (FloatDistribution(0, 4, step=1), "a number from 0 to 4 in steps of 1"),
        (IntDistribution(1, 8), "an integer from 1 to 8"),
        (IntDistribution(8, 128, step=8), "an integer from 8 to 128 in steps of 8"),
        (IntDistribution(1, 512, log=True), "an integer from 1 to 512, log scale"),
        (CategoricalDistribution(["a", None]), 'one of "a", "null"'),
    ],
)
def test_a_distribution_is_described_in_words(distribution: BaseDistribution, words: str) -> None:
    assert in_words(distribution) == words


def test_many_choices_are_not_all_listed() -> None:
    assert in_words(CategoricalDistribution(range(1000))).endswith("and 980 more")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.none())))
def test_shown_values_are_short_and_printable(value: Any) -> None:
    text = show(value)
    assert text.isprintable()
    assert len(text) < 110


@given(st.text(), st.integers(10, 50))
def test_clean_text_keeps_its_length(text: str, length: int) -> None:
    assert len(clean(text, length)) <= length


def test_a_password_in_a_url_is_removed_before_its_path() -> None:
    assert "hunter2" not in redact("no answer from https://anna:hunter2@example.com/v1/models")
