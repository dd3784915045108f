"""The adaptive strategy goes on with what has improved the study."""

import random
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from support import SPACE

from optuna_llm.samplers.guidance import Situation, strategy_named
from optuna_llm.samplers.guidance.strategies import MIN_ROLE_SHARE, Adaptive, explore_share, follows_words, role_of
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import UNSCORED_TRIALS, Evidence, Score

COLUMNS = make_space(SPACE)


def trial(value: float, **llm: Any) -> FrozenTrial:
    """A trial with a record of how it was asked for."""
    rng = random.Random(repr((value, llm)))
    params = {"lr": 10 ** rng.uniform(-5, -1), "momentum": 0.5, "layers": 3, "optimizer": "adam"}
    record = {"calls": 1, "reasks": 0, "duplicate_of": None, "inside": 1.0, **llm}
    return create_trial(params=params, distributions=SPACE, value=value, user_attrs={"llm": record})


def study(asks: list[tuple[str, str, bool]], **more: Any) -> Situation:
    """After a beginning of five trials, asks of (role, form, whether it improved the best one)."""
    trials = [trial(100.0 + n) for n in range(UNSCORED_TRIALS + 1)]
    best = 100.0
    for role, form, improved in asks:
        best -= improved
        trials.append(trial(best if improved else best + 50, role=role, form=form, **more))
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    evidence.update(trials)
    return Situation(
        space=COLUMNS,
        direction=StudyDirection.MINIMIZE,
        evidence=evidence,
        ordinal=len(trials),
        proposed=len(trials),
    )


def plain(ordinal: int) -> Situation:
    """A study without any record of how it was asked for, so many trials later."""
    base = study([])
    return Situation(space=COLUMNS, direction=base.direction, evidence=base.evidence, ordinal=ordinal, proposed=ordinal)


def forms(situation: Situation, asks: int = 40) -> list[str]:
    """The forms of the asks at this state of the study."""
    base = {name: getattr(situation, name) for name in ("space", "direction", "evidence", "proposed")}
    return [Adaptive().guide(Situation(**base, ordinal=situation.ordinal + n)).form for n in range(asks)]


def roles(situation: Situation, asks: int = 400) -> list[str]:
    base = {name: getattr(situation, name) for name in ("space", "direction", "evidence", "proposed")}
    share = explore_share(situation.evidence.score(role="explore"), situation.evidence.score(role="refine"))
    return [role_of(Situation(**base, ordinal=situation.ordinal + n), share) for n in range(asks)]


def test_it_begins_with_menus_and_tries_words_now_and_then() -> None:
    found = forms(study([]))
    assert found.count("words") == 8
    assert found.count("menu") == 32


def test_it_goes_over_to_words_that_improve_the_study_more_often() -> None:
    asks = [("refine", "menu", False)] * 8 + [("refine", "words", True)] * 6
    found = forms(study(asks))
    assert found.count("words") == 32


def test_words_do_not_become_the_rule_because_menus_failed_more_often() -> None:
    asks = [("refine", "menu", False)] * 20 + [("refine", "words", False)] * 5
    assert forms(study(asks)).count("words") == 8


def test_roles_of_asks_in_a_row_are_mixed_whatever_their_shares() -> None:
    assert [role_of(plain(ordinal), 0.5) for ordinal in range(4, 10)] == ["refine", "explore"] * 3
    for share, most in ((0.25, 3), (0.75, 3), (0.6, 3), (0.4, 3)):
        text = "".join(role_of(plain(ordinal), share)[0] for ordinal in range(8, 136))
        assert text.count("e") == pytest.approx(128 * share, abs=2)
        assert "e" * (most + 1) not in text
        assert "r" * (most + 1) not in text


@pytest.mark.parametrize("fault", [{"inside": 0.3}, {"reasks": 1}, {"duplicate_of": 4}])
def test_words_that_are_not_obeyed_or_lead_to_repetitions_are_given_rarely(fault: dict[str, Any]) -> None:
    asks = [("refine", "words", True)] * 6
    assert forms(study(asks)).count("words") == 32
    assert forms(study(asks, **fault)).count("words") == 2


def test_words_are_not_judged_before_a_few_were_given() -> None:
    assert follows_words(Score(asks=2, inside=0.0))
    assert not follows_words(Score(asks=4, inside=1.0))


def test_it_explores_more_when_exploring_has_paid_and_less_when_refining_has() -> None:
    explored, refined = ("explore", "menu", True), ("refine", "menu", False)
    more, less = study([explored, refined] * 8), study([("explore", "menu", False), ("refine", "menu", True)] * 8)
    assert roles(study([])).count("explore") == 200
    assert roles(more).count("explore") > 250
    assert roles(less).count("explore") < 150


def test_some_of_each_role_is_kept_whatever_paid() -> None:
    rich, poor = Score(asks=100, improved=100), Score(asks=100)
    assert explore_share(rich, poor) == 1 - MIN_ROLE_SHARE
    assert explore_share(poor, rich) == MIN_ROLE_SHARE
    assert explore_share(Score(), Score()) == 0.5


def test_what_was_long_ago_counts_less() -> None:
    old, new = [("refine", "words", True)] * 6, [("refine", "words", False)] * 60
    scores = [study(asks).evidence.score(form="words") for asks in (old, old + new)]
    assert scores[0].improved == pytest.approx(5.57, abs=0.01)
    assert scores[1].improved < 1.0
    assert scores[1].asks < 34


def test_the_beginning_of_a_study_says_nothing() -> None:
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    evidence.update([trial(10.0 - n, role="explore", form="menu") for n in range(UNSCORED_TRIALS)])
    assert evidence.score() == Score()


def test_combining_begins_when_nothing_has_improved_for_a_while() -> None:
    assert "combine" not in roles(study([("refine", "menu", True)] * 3), 40)
    assert "combine" in roles(study([("refine", "menu", False)] * 8), 40)


@pytest.mark.parametrize("name", ["guided", "menu"])
def test_the_other_strategies_keep_to_their_form(name: str) -> None:
    situation = study([("refine", "menu", False)] * 8)
    assert strategy_named(name).guide(situation).form == ("words" if name == "guided" else "menu")
