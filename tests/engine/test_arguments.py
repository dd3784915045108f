"""What users pass is refused with a sentence that says what to pass instead."""

from typing import Any

import numpy as np
import pytest

from optuna_llm import UsageError
from optuna_llm.engine.arguments import number


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (0, {}),
        (0.5, {}),
        (np.float64(0.5), {}),
        (10**400, {}),
        (0.999, {"high": 1}),
        (1, {"low": 1, "whole": True}),
        (1e-300, {"positive": True}),
        (None, {"optional": True}),
    ],
)
def test_a_number_within_its_limits_is_returned_as_it_is(value: Any, limits: dict[str, Any]) -> None:
    assert number("x", value, **limits) is value


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 1j, [1]])
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_no_finite_number_is_refused(value: Any, whole: bool) -> None:
    with pytest.raises(UsageError, match="x must be a"):
        number("x", value, whole=whole)


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (-1, {}, "x must be a number of at least 0, not -1"),
        (0, {"low": 1, "whole": True}, "x must be a whole number of at least 1, not 0"),
        (1.5, {"whole": True}, "x must be a whole number of at least 0, not 1.5"),
        (0, {"positive": True, "optional": True}, "x must be a positive number or None, not 0"),
        (0, {"positive": True, "whole": True}, "x must be a positive whole number, not 0"),
        (0, {"positive": True, "unit": " of seconds"}, "x must be a positive number of seconds, not 0"),
        (-1, {"unit": " of seconds"}, "x must be a number of seconds of at least 0, not -1"),
        (1.5, {"high": 1, "optional": True}, "x must be a number from 0 to 1 or None, not 1.5"),
    ],
)
def test_the_sentence_says_what_is_wanted(value: Any, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        number("x", value, **limits)
    assert str(caught.value) == message
