import copy
import pickle
import re
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    DiscreteUniformDistribution,
    FloatDistribution,
    IntDistribution,
    IntLogUniformDistribution,
    LogUniformDistribution,
)
from optuna.trial import TrialState, create_trial

from optuna_llm.engine.errors import UsageError
from optuna_llm.samplers.space.reply_model import Conformed, conform, reply_model
from optuna_llm.samplers.space.space import Space, make_space

LR = FloatDistribution(1e-5, 0.1, log=True)


def conformed(value: Any, distribution: BaseDistribution) -> Conformed:
    return conform({"x": value}, make_space({"x": distribution}))


def accepted(value: Any, distribution: BaseDistribution) -> Any:
    result = conformed(value, distribution)
    assert result.params is not None, result.violations
    return result.params["x"]


def violation(value: Any, distribution: BaseDistribution) -> str:
    result = conformed(value, distribution)
    assert result.params is None
    assert len(result.violations) == 1
    return result.violations[0]


def one_of(*choices: Any) -> CategoricalDistribution:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CategoricalDistribution(choices)


# Strategies

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def float_ranges(draw: st.DrawFn) -> FloatDistribution:
    low, high = sorted((draw(finite), draw(finite)))
    return FloatDistribution(low, high)


@st.composite
def log_ranges(draw: st.DrawFn) -> FloatDistribution:
    low, high = sorted(draw(st.tuples(*[st.floats(1e-300, 1e300)] * 2)))
    return FloatDistribution(low, high, log=True)


@st.composite
def float_grids(draw: st.DrawFn) -> FloatDistribution:
    low = draw(st.one_of(st.sampled_from([-10.2, 0.0, 0.1, 1e-3, 3.3, 1e9]), finite))
    step = draw(st.one_of(st.sampled_from([0.1, 0.25, 0.3, 1e-3, 7.0]), st.floats(1e-6, 1e3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FloatDistribution(low, low + step * draw(st.floats(0, 1e5)), step=step)


@st.composite
def int_ranges(draw: st.DrawFn) -> IntDistribution:
    bound = st.one_of(st.integers(-1000, 1000), st.integers(-(2**53), 2**53), st.integers(-(2**60), 2**60))
    low, high = sorted((draw(bound), draw(bound)))
    if draw(st.booleans()):
        return IntDistribution(abs(low) % 1000 + 1, abs(low) % 1000 + 1 + (high - low), log=True)
    step = draw(st.integers(1, 1000)) if high - low <= 2**53 and max(-low, high) <= 2**53 else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return IntDistribution(low, high, step=step)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["1", "true", "None", "null", '"1"', "Adam", "adam", " adam", "", "1.0", "x" * 90, "1 (int)"]),
)
categories = st.lists(scalars, min_size=1, max_size=8).map(lambda choices: CategoricalDistribution(choices))
distributions = st.one_of(float_ranges(), log_ranges(), float_grids(), int_ranges(), categories)
names = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "rationale", "lr", "model/lr max", "model lr/max", "größe", "学習率", "x" * 300, "params", "_"]
    ),
)


def is_a_space(space: dict[str, Any]) -> bool:
    return isinstance(attempt(space), Space)


spaces = st.one_of(
    st.dictionaries(names, distributions, min_size=1, max_size=6),
    st.integers(1, 100).flatmap(
        lambda n: distributions.map(lambda distribution: {f"a/{i}": distribution for i in range(n)})
    ),
).filter(is_a_space)
json_values = st.recursive(
    st.one_of(scalars, st.sampled_from(["1e-3", "64", "NaN", "1e999", "-7", 10**400, -(10**400), 1e300, True])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def attempt(space: dict[str, BaseDistribution]) -> Space | UsageError:
    try:
        return make_space(space)
    except UsageError as error:
        return error


@st.composite
def answers(draw: st.DrawFn, space: Space) -> Any:
    """From well-meant to hostile; only the well-meant ones reach the values of large spaces."""
    hostility = draw(st.sampled_from(["none", "none", "some", "whole"]))
    if hostility == "whole":
        return draw(json_values)
    answer: dict[str, Any] = {}
    for name, key in space.keys.items():
        distribution = space.distributions[name]
        likely: st.SearchStrategy[Any] = st.floats(-2e6, 2e6)
        if isinstance(distribution, CategoricalDistribution):
            likely = st.sampled_from([*distribution.choices, *space.labels[name]])
        if hostility == "none":
            answer[key] = draw(likely)
        elif draw(st.integers(0, 9)) > 0:
            answer[draw(st.sampled_from([key, name]))] = draw(likely | json_values)
    return answer


# Properties


@settings(max_examples=250)
@given(st.data())
def test_any_answer_becomes_values_that_optuna_takes_as_they_are_or_named_violations(data: st.DataObject) -> None:
    space = make_space(data.draw(spaces))
    result = conform(data.draw(answers(space)), space)
    assert (result.params is None) == bool(result.violations)
    assert all(text.isprintable() for text in (*result.repairs, *result.violations))
    if result.params is None:
        return
    assert list(result.params) == list(space.distributions)
    for name, distribution in space.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(result.params[name]))
        if not isinstance(distribution, CategoricalDistribution):
            assert type(result.params[name]) is (int if isinstance(distribution, IntDistribution) else float)


@settings(max_examples=60)
@given(st.data())
def test_a_study_reads_back_the_values_that_were_conformed(data: st.DataObject) -> None:
    space = make_space(data.draw(spaces))
    result = conform(data.draw(answers(space)), space)
    if result.params is None:
        return
    study = optuna.create_study()
    running = create_trial(
        state=TrialState.RUNNING, params=dict(result.params), distributions=dict(space.distributions)
    )
    trial_id = study._storage.create_new_trial(study._study_id, template_trial=running)
    trial = optuna.Trial(study, trial_id)
    assert repr(trial.params) == repr(result.params)
    for name, distribution in space.distributions.items():
        assert repr(trial._suggest(name, distribution)) == repr(result.params[name])


@settings(max_examples=100)
@given(st.data())
def test_conformed_values_conform_to_themselves_without_repairs(data: st.DataObject) -> None:
    space = make_space(data.draw(spaces))
    first = conform(data.draw(answers(space)), space)
    if first.params is None:
        return
    again = conform({space.keys[name]: value for name, value in first.params.items()}, space)
    assert repr(again.params) == repr(first.params)
    assert again.repairs == ()


@settings(max_examples=100)
@given(json_values, distributions)
def test_no_json_value_makes_conform_raise(value: Any, distribution: BaseDistribution) -> None:
    space = attempt({"x": distribution})
    if isinstance(space, Space):
        conform(value, space)
        conform({"x": value, "": value}, space)


@settings(max_examples=100)
@given(spaces)
def test_keys_are_safe_unique_and_never_the_rationale(distributions: dict[str, BaseDistribution]) -> None:
    keys = list(make_space(distributions).keys.values())
    assert len(set(keys)) == len(distributions)
    assert "rationale" not in keys
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,64}", key) for key in keys)


# Spaces


def test_a_name_that_is_a_key_keeps_itself_whoever_comes_first() -> None:
    keys = make_space({"a/b": LR, "a_b": LR, "a b": LR}).keys
    assert keys == {"a/b": "a_b_2", "a_b": "a_b", "a b": "a_b_3"}


def test_a_parameter_named_rationale_gets_another_key() -> None:
    assert make_space({"rationale": LR}).keys == {"rationale": "rationale_2"}


def test_the_order_of_the_parameters_is_kept() -> None:
    assert list(make_space({"z": LR, "a": LR, "m": LR}).distributions) == ["z", "a", "m"]


def test_equal_spaces_are_equal_and_hash_alike() -> None:
    assert make_space({"x": LR}) == make_space({"x": FloatDistribution(1e-5, 0.1, log=True)})
    assert hash(make_space({"x": LR})) == hash(make_space({"x": FloatDistribution(1e-5, 0.1, log=True)}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": one_of(True, False)}, {"x": one_of(1, 0)}),
        ({"x": LR, "y": LR}, {"y": LR, "x": LR}),
        ({"x": one_of("1")}, {"x": one_of(1)}),
    ],
)
def test_spaces_differ_by_type_of_choice_and_by_order(one: Any, other: Any) -> None:
    assert make_space(one) != make_space(other)


def test_a_space_survives_pickle_and_deepcopy() -> None:
    space = make_space({"x": LR, "c": one_of("a", None)})
    assert pickle.loads(pickle.dumps(space)) == space == copy.deepcopy(space)


@pytest.mark.parametrize(
    ("old", "arguments", "new"),
    [
        (LogUniformDistribution, (1e-5, 0.1), LR),
        (DiscreteUniformDistribution, (0, 1, 0.25), FloatDistribution(0, 1, step=0.25)),
        (IntLogUniformDistribution, (1, 64), IntDistribution(1, 64, log=True)),
    ],
)
def test_deprecated_distributions_are_converted(old: Any, arguments: Any, new: BaseDistribution) -> None:
    with pytest.warns(FutureWarning):
        deprecated = old(*arguments)
    converted = make_space({"x": deprecated}).distributions["x"]
    assert converted == new
    assert type(converted) is type(new)


@pytest.mark.parametrize(
    ("distributions", "said"),
    [
        ({}, "empty"),
        ([("x", LR)], "list"),
        ({3: LR}, "name 3 is a int"),
        ({"x": (0, 1)}, "'x': tuple is no Optuna distribution"),
        ({"x": FloatDistribution(0, float("inf"))}, "'x'.*not finite"),
        ({"x": FloatDistribution(float("nan"), 1)}, "'x'.*not finite"),
        ({"x": FloatDistribution(-1.7e308, 1.7e308)}, "'x'.*wider than a float"),
        ({"x": FloatDistribution(0, 1, step=1e-17)}, "'x'.*step"),
        ({"x": IntDistribution(0, 10**400)}, r"'x'.*2\*\*53"),
        ({"x": IntDistribution(2**53 + 1, 2**53 + 1)}, r"'x'.*2\*\*53"),
        ({"x": IntDistribution(0, 2**60, step=2)}, r"'x'.*2\*\*53"),
    ],
)
def test_a_space_that_cannot_work_is_a_usage_error_that_says_why(distributions: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_space(distributions)


def test_an_error_about_a_huge_bound_is_readable() -> None:
    with pytest.raises(UsageError) as caught:
        make_space({"x": IntDistribution(0, 10**5000)})
    assert len(str(caught.value)) < 400


# Numbers


@pytest.mark.parametrize(
    ("given_value", "value", "repairs"),
    [
        (0.01, 0.01, ()),
        (5.0, 0.1, ("x: 5.0 clamped to 0.1",)),
        (-1, 1e-5, ("x: -1 clamped to 1e-05",)),
        (0.1 + 1e-12, 0.1, ()),
        ("1e-3", 0.001, ("x: '1e-3' read as 0.001",)),
        ("7", 0.1, ("x: '7' read as 7", "x: 7 clamped to 0.1")),
        (10**400, 0.1, ("x: an integer of 1329 bits clamped to 0.1",)),
    ],
)
def test_a_float_is_clamped_and_converted_with_a_repair(given_value: Any, value: float, repairs: Any) -> None:
    result = conformed(given_value, LR)
    assert result.params == {"x": value}
    assert result.repairs == repairs


@pytest.mark.parametrize(
    ("given_value", "value", "repairs"),
    [
        (-9.9, -9.9, ()),
        (-10.2 + 3 * 0.1, -9.9, ()),
        (0.13, 0.1, ("x: 0.13 snapped to 0.1",)),
        (0.3, 0.3, ()),
        (99, 10.0, ("x: 99 clamped to 10",)),
    ],
)
def test_a_float_is_snapped_to_its_grid_and_noise_is_no_repair(given_value: Any, value: Any, repairs: Any) -> None:
    result = conformed(given_value, FloatDistribution(-10.2, 10.0, step=0.1))
    assert result.params == {"x": value}
    assert result.repairs == repairs


@pytest.mark.parametrize(
    ("given_value", "value", "repairs"),
    [
        (64, 64, ()),
        (64.0, 64, ()),
        ("64", 64, ("x: '64' read as 64",)),
        (63.9999999999, 64, ()),
        (60, 64, ("x: 60 snapped to 64",)),
        (8.4, 8, ("x: 8.4 snapped to 8",)),
        (1e300, 128, ("x: 1e+300 clamped to 128",)),
        (-(10**400), 8, ("x: an integer of 1329 bits clamped to 8",)),
    ],
)
def test_an_int_is_a_python_int_on_its_grid(given_value: Any, value: int, repairs: Any) -> None:
    result = conformed(given_value, IntDistribution(8, 128, step=8))
    assert result.params == {"x": value}
    assert type(accepted(given_value, IntDistribution(8, 128, step=8))) is int
    assert result.repairs == repairs


def test_an_int_beyond_float_precision_becomes_one_that_optuna_can_store() -> None:
    wide = IntDistribution(0, 2**60)
    value = accepted(2**53 + 1, wide)
    assert wide.to_external_repr(wide.to_internal_repr(value)) == value


@pytest.mark.parametrize(("low", "high"), [(0, 2**60 - 1), (-(2**60) + 1, 0)])
def test_a_bound_that_no_float_holds_is_rounded_into_the_range(low: int, high: int) -> None:
    wide = IntDistribution(low, high)
    for given_value in (low, high, 10**30, -(10**30)):
        assert wide._contains(wide.to_internal_repr(accepted(given_value, wide)))


@pytest.mark.parametrize("low", [1e9, 123456.789])
def test_a_grid_finer_than_rounding_still_gives_a_point_that_optuna_takes(low: float) -> None:
    grid = FloatDistribution(low, low + 300, step=0.3)
    value = accepted(low + 100.1, grid)
    assert grid._contains(value)
    assert value == pytest.approx(low + 100.1, abs=10)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fast", "`x`: 'fast' is not a number; give a number from 1e-05 to 0.1, log scale"),
        (True, "`x`: true is not a number"),
        (None, "`x`: null is not a number"),
        ([0.1], "`x`: a list is not a number"),
        ({}, "`x`: an object is not a number"),
        (float("nan"), "`x`: nan is not a finite number"),
        (float("-inf"), "`x`: -inf is not a finite number"),
        ("inf", "`x`: 'inf' is not a number"),
        ("1e999", "`x`: '1e999' is not a finite number"),
        ("1_000", "`x`: '1_000' is not a number"),
        ("", "`x`: '' is not a number"),
    ],
)
def test_what_is_no_finite_number_is_a_violation_that_says_what_to_give(value: Any, said: str) -> None:
    assert violation(value, LR).startswith(said)


def test_what_the_model_wrote_is_cut_and_made_printable_in_a_violation() -> None:
    text = violation("\x1b[31m\n" * 10_000, LR)
    assert len(text) < 150
    assert text.isprintable()


# Choices


@pytest.mark.parametrize(
    ("given_value", "choices", "value"),
    [
        ("adam", ("adam", "sgd"), "adam"),
        (True, (1, True), True),
        (1, (True, 1), 1),
        (1.0, (1, 1.0), 1.0),
        ("1", (1, "1"), "1"),
        ("1 (int)", (1, "1"), 1),
        ('"1"', (1, "1"), "1"),
        ("16", (16, 32), 16),
        ("null", (None, "a"), None),
        ("Adam", ("Adam", "adam"), "Adam"),
        ("None", (None, "None"), "None"),
        ("null", (None, "None"), None),
    ],
)
def test_a_choice_is_taken_by_value_and_type_or_by_its_label(given_value: Any, choices: Any, value: Any) -> None:
    result = conformed(given_value, one_of(*choices))
    assert result.repairs == ()
    assert result.params is not None
    assert repr(result.params["x"]) == repr(value)


@pytest.mark.parametrize(
    ("given_value", "choices", "value"),
    [
        (16.0, (16, 32), 16),
        ("16.0", (16, 32), 16),
        (" ADAM ", ("adam", "sgd"), "adam"),
        ("'adam'", ("adam", "sgd"), "adam"),
        ("None", (None, "a"), None),
        ("True", (True, False), True),
        (None, ("none", "a"), "none"),
        (False, ("true", "false"), "false"),
        (16, ("16", "32"), "16"),
    ],
)
def test_a_choice_is_taken_by_unambiguous_text_with_a_repair(given_value: Any, choices: Any, value: Any) -> None:
    result = conformed(given_value, one_of(*choices))
    assert len(result.repairs) == 1
    assert result.params is not None
    assert repr(result.params["x"]) == repr(value)


@pytest.mark.parametrize(
    ("given_value", "choices"),
    [
        ("lion", ("adam", "sgd")),
        (True, (1, 2)),
        (1, (True, False)),
        (["adam"], ("adam", "sgd")),
        (None, ("adam", "sgd")),
    ],
)
def test_what_is_no_choice_is_a_violation_that_lists_the_labels(given_value: Any, choices: Any) -> None:
    assert "is not one of the choices; give one of " in violation(given_value, one_of(*choices))


def test_text_that_fits_several_choices_is_a_violation() -> None:
    assert "'ADAM' fits several choices" in violation("ADAM", one_of("Adam", "adam"))


@settings(max_examples=150)
@given(categories)
def test_every_choice_can_be_reached_by_its_label_alone(distribution: CategoricalDistribution) -> None:
    space = make_space({"x": distribution})
    assert len(set(space.labels["x"])) == len(distribution.choices)
    for label, choice in zip(space.labels["x"], distribution.choices, strict=True):
        result = conform({"x": label}, space)
        assert result.params is not None
        assert repr(result.params["x"]) == repr(choice)


def test_equal_spaces_share_a_model_but_give_their_own_choices() -> None:
    class Optimizer:
        def __repr__(self) -> str:
            return "Optimizer()"

    for _ in range(2):
        choice = Optimizer()
        space = make_space({"x": one_of(choice, None)})
        assert reply_model(space) is reply_model(make_space({"x": one_of(Optimizer(), None)}))
        assert accepted("Optimizer()", space.distributions["x"]) is choice


@pytest.mark.parametrize("name", ["json", "model_config", "_private", "field_x", "copy", "\ud800"])
def test_any_name_may_be_a_parameter_s(name: str) -> None:
    space = make_space({name: LR})
    assert conform({space.keys[name]: 0.01}, space).params == {name: 0.01}


def test_choices_that_are_objects_are_reached_by_their_text() -> None:
    sizes = one_of((64,), (64, 64), [1])
    assert accepted("(64, 64)", sizes) == (64, 64)


# Whole documents


def test_a_value_may_stand_under_the_name_of_its_parameter() -> None:
    space = make_space({"model/lr max": LR})
    assert conform({"model/lr max": 0.01}, space).params == {"model/lr max": 0.01}


def test_a_name_that_is_the_key_of_another_is_read_as_that_key() -> None:
    space = make_space({"a/b": LR, "a_b": LR})
    assert conform({"a_b": 0.01}, space).violations[0].startswith("`a_b_2`: is missing")


def test_the_rationale_is_never_the_value_of_a_parameter_of_that_name() -> None:
    assert conform({"rationale": 0.01}, make_space({"rationale": LR})).params is None


def test_a_missing_key_is_a_violation() -> None:
    assert conform({}, make_space({"lr": LR})).violations == (
        "`lr`: is missing; give a number from 1e-05 to 0.1, log scale",
    )


def test_unknown_keys_are_ignored_with_one_repair() -> None:
    result = conform({"x": 0.01, "y": 1, "z": 2, "rationale": "why"}, make_space({"x": LR}))
    assert result.params == {"x": 0.01}
    assert result.repairs == ("ignored unknown keys: 'y', 'z'",)


def test_a_hundred_wrong_values_give_a_short_list_of_violations() -> None:
    result = conform({}, make_space({f"p{i}": LR for i in range(100)}))
    assert len(result.violations) == 13
    assert result.violations[-1] == "and 88 more violations"


@pytest.mark.parametrize("raw", [None, 3, "x", [1, 2], True, float("nan")])
def test_a_document_that_is_no_object_is_a_violation(raw: Any) -> None:
    assert "not a JSON object" in conform(raw, make_space({"x": LR})).violations[0]


@pytest.mark.parametrize("distribution", [FloatDistribution(2, 2), IntDistribution(2, 2), one_of(2)])
def test_a_parameter_with_one_value_needs_no_answer(distribution: BaseDistribution) -> None:
    assert conform({}, make_space({"x": distribution})) == Conformed(params={"x": 2}, repairs=(), violations=())


@pytest.mark.parametrize("distribution", [FloatDistribution(2, 2), IntDistribution(2, 2), one_of(2)])
def test_another_answer_for_a_parameter_with_one_value_is_replaced(distribution: BaseDistribution) -> None:
    result = conform({"x": 3}, make_space({"x": distribution}))
    assert result.params == {"x": 2}
    assert result.repairs == ("x: 3 replaced by its only value",)
