"""Names outside a space are refused, names that nobody asks for are said once, each with a guess at what was meant."""

import pytest

from optuna_llm import UsageError
from optuna_llm.engine.names import ENOUGH_TRIALS, AskedNames, UnaskedNames, undeclared, without_space


def test_a_name_outside_is_refused_again_and_again_and_kept() -> None:
    names = AskedNames(["lr", "layers"])
    for _ in range(2):
        with pytest.raises(UsageError, match="'lear' is not in the search space"):
            names.ask("lear")
    assert isinstance(names.refused, UsageError)
    assert names.asked == set()


def test_names_that_have_a_value_anyway_are_let_through() -> None:
    names = AskedNames(["lr"], also=["seed"])
    names.ask("seed")
    assert names.refused is None


@pytest.mark.parametrize(
    ("name", "guess"), [("learning_rat", "(did you mean 'learning_rate'?)"), ("Lr", None), ("zzz", None)]
)
def test_what_was_meant_is_guessed_where_it_can_be(name: str, guess: str | None) -> None:
    said = str(undeclared(name, ["learning_rate", "layers"]))
    assert (guess in said) if guess else ("did you mean" not in said)
    assert "['layers', 'learning_rate']" in said


def test_a_name_is_unasked_once_enough_trials_did_without() -> None:
    names = UnaskedNames(["a", "b", "c"])
    names.saw(["b"], complete=False)  # it failed after it had asked
    for _ in range(ENOUGH_TRIALS):
        assert names.news() is None
        names.saw(["a"], complete=True)
    said = names.news()
    assert said is not None
    assert "No objective asked for 'c' in 10 complete trials" in said
    assert names.news() is None
    assert names.news(over=True) is None


def test_trials_that_did_not_complete_say_nothing_of_a_name() -> None:
    names = UnaskedNames(["a"])
    for _ in range(3 * ENOUGH_TRIALS):
        names.saw([], complete=False)
    assert names.news(over=True) is None


def test_at_the_end_one_complete_trial_is_enough() -> None:
    names = UnaskedNames(["a"])
    names.saw([], complete=True)
    assert names.news() is None
    assert "in 1 complete trial" in (names.news(over=True) or "")


def test_meanings_without_a_parameter_name_all_that_is_known() -> None:
    said = without_space(["rate", "depht"], ["depth", "lr"])
    assert "'rate', 'depht'" in said
    assert "['depth', 'lr'] (did you mean 'depth'?)" in said
