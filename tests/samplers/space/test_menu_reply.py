"""The number of a candidate, in place of values for the parameters."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_llm.engine.study.distributions import contains
from optuna_llm.samplers.space.menu_reply import OR_NONE, chosen, declines, menu_schema, number_key
from optuna_llm.samplers.space.space import make_space, narrow

SPACE = make_space(
    {"model": CategoricalDistribution(("forest", "svm")), "trees": IntDistribution(1, 9), "C": FloatDistribution(0, 1)}
)
CANDIDATES: list[dict[str, Any]] = [{"model": "forest", "trees": 7}, {"model": "svm", "C": 0.25}]


@pytest.mark.parametrize("said", [2, 2.0, "2", " 2 ", "#2"])
def test_a_number_stands_for_its_candidate_whose_idle_parameters_get_a_middle_value(said: Any) -> None:
    found = chosen({"candidate": said}, SPACE, CANDIDATES)
    assert found is not None
    assert found.params == {"model": "svm", "trees": 5, "C": 0.25}
    assert (found.repairs, found.violations) == ((), ())


@pytest.mark.parametrize("said", [0, 3, -1, 1.5, True, None, "two", [1], {"n": 1}, 10**40, "\u00b2"])
def test_what_is_no_number_of_a_candidate_is_a_violation_that_says_the_range(said: Any) -> None:
    found = chosen({"candidate": said}, SPACE, CANDIDATES)
    assert found is not None
    assert found.params is None
    assert "`candidate`" in found.violations[0]
    assert "give a number from 1 to 2" in found.violations[0]


def test_of_a_part_of_the_parameters_only_that_part_is_chosen() -> None:
    space = narrow(SPACE, ["trees"])
    found = chosen({"candidate": 1}, space, [{"trees": 7}])
    assert found is not None
    assert found.params == {"trees": 7}


def test_of_a_candidate_that_lacks_a_whole_branch_every_parameter_has_a_value_that_is_valid() -> None:
    space = make_space(
        {
            "rate": FloatDistribution(1e-4, 1.0, log=True),
            "even": IntDistribution(2, 10, step=2),
            "tenths": FloatDistribution(0.0, 1.0, step=0.1),
            "kind": CategoricalDistribution(("a", "b", "c")),
            "x": FloatDistribution(0, 1),
        }
    )
    found = chosen({"candidate": 1}, space, [{"x": 0.25}])
    assert found is not None
    assert found.params is not None
    assert found.params.keys() == space.distributions.keys()
    assert found.params["x"] == 0.25
    for name, distribution in space.distributions.items():
        assert contains(distribution, found.params[name])


def test_a_number_beside_values_is_the_choice() -> None:
    found = chosen({"candidate": 1, "model": "svm", "trees": 1, "C": 0.5}, SPACE, CANDIDATES)
    assert found is not None
    assert found.params == {"model": "forest", "trees": 7, "C": 0.5}


def test_values_of_its_own_are_no_choice() -> None:
    assert chosen({"model": "svm", "trees": 1, "C": 0.5}, SPACE, CANDIDATES) is None


def test_the_key_is_none_that_a_parameter_has() -> None:
    space = make_space({"candidate": IntDistribution(1, 9), "candidate_": IntDistribution(1, 9)})
    assert number_key(space) == "candidate__"
    found = chosen({"candidate__": 1}, space, [{"candidate": 3, "candidate_": 4}])
    assert found is not None
    assert found.params == {"candidate": 3, "candidate_": 4}
    assert chosen({"candidate": 3, "candidate_": 4}, space, []) is None


def test_a_parameter_with_one_value_has_it() -> None:
    space = make_space({"x": IntDistribution(1, 9), "one": CategoricalDistribution(("only",))})
    found = chosen({"candidate": 1}, space, [{"x": 3}])
    assert found is not None
    assert found.params == {"x": 3, "one": "only"}


def test_the_schema_says_how_many_there_are_and_nothing_else() -> None:
    schema = menu_schema(SPACE, 3)
    assert schema["required"] == ["rationale", "candidate"] == list(schema["properties"])
    assert schema["properties"]["candidate"]["enum"] == [1, 2, 3]
    assert schema["additionalProperties"] is False
    assert menu_schema(SPACE, 3, rationale=False)["required"] == ["candidate"]


def test_a_menu_that_may_be_declined_has_zero_as_its_last_number() -> None:
    assert menu_schema(SPACE, 3, optional=True)["properties"]["candidate"] == {
        "type": "integer",
        "enum": [1, 2, 3, 0],
        "description": OR_NONE,
    }


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"candidate": 0}, True),
        ({"candidate": "0"}, True),
        ({"candidate": 0.0, "rationale": "none is good"}, True),
        ({"candidate": 1}, False),
        ({"candidate": False}, False),
        ({"candidate": None}, False),
        ({"trees": 0}, False),
        ({}, False),
    ],
)
def test_zero_alone_declines(values: dict[str, Any], found: bool) -> None:
    assert declines(values, number_key(SPACE)) == found
