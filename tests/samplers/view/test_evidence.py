"""What trials show of a configuration and of an ask, and which trials show nothing."""

from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm.engine.study.attributes import is_inconclusive, is_interrupted
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence, Trust

SPACE = {"x": FloatDistribution(0, 1)}
OTHER = {"old name": FloatDistribution(0, 1)}
ASKED = {"calls": 1, "role": "refine", "form": "menu"}


def made(number: int, value: float | None = None, *, failure: str | None = None, **more: Any) -> FrozenTrial:
    """One trial on the axis, if no parameters are given."""
    attributes = {"llm": more.pop("llm", {})} | ({"failure": {"type": failure}} if failure else {})
    state = TrialState.COMPLETE if value is not None else TrialState.FAIL
    options: dict[str, Any] = {"params": {"x": 0.5}, "distributions": SPACE} | more
    trial = create_trial(state=state, value=value, user_attrs=attributes, **options)
    trial.number = number
    return trial


BEGINNING = [made(number, 10.0 - number) for number in range(5)]


def after(*trials: FrozenTrial) -> Evidence:
    evidence = Evidence(Axes(make_space(SPACE)), StudyDirection.MINIMIZE)
    evidence.update([*BEGINNING, *trials])
    return evidence


@pytest.mark.parametrize(
    ("kind", "interrupted", "inconclusive"),
    [("Interrupted", True, True), ("RunDied", False, True), ("MemoryError", False, False), (None, False, False)],
)
def test_what_a_signal_ended_may_be_proposed_again_and_what_died_with_its_run_only_shows_nothing(
    kind: str | None, interrupted: bool, inconclusive: bool
) -> None:
    trial = made(0, failure=kind)
    assert (is_interrupted(trial), is_inconclusive(trial)) == (interrupted, inconclusive)


@pytest.mark.parametrize(("kind", "asks"), [("Interrupted", 0), ("RunDied", 0), ("MemoryError", 1)])
def test_an_ask_whose_trial_was_cut_short_is_not_judged(kind: str, asks: int) -> None:
    evidence = after(made(5, failure=kind, llm=ASKED))
    assert evidence.newest.menu.sum() == asks
    assert evidence.trust == Trust(failures=asks)
    assert evidence.proposed == 1


@pytest.mark.parametrize(
    ("kinds", "failures"), [(["MemoryError"], 1), (["MemoryError", "RunDied"], 1), (["RunDied", "Interrupted"], 0)]
)
def test_an_ask_is_judged_once_however_often_its_trial_is_tried(kinds: list[str], failures: int) -> None:
    tried = [
        made(5 + n, failure=kind, llm=ASKED, system_attrs={"retry_history": [*range(5, 5 + n)]} if n else {})
        for n, kind in enumerate(kinds)
    ]
    last = made(9, 99.0, llm=ASKED, system_attrs={"retry_history": [trial.number for trial in tried]})
    assert after(*tried).newest.menu.sum() == failures
    evidence = after(*tried, last)
    assert evidence.newest.menu.sum() == 1
    assert evidence.trust == Trust(failures=1)


@pytest.mark.parametrize(
    "elsewhere", [{"params": {}, "distributions": {}}, {"params": {"old name": 0.5}, "distributions": OTHER}]
)
def test_a_trial_without_a_place_is_none_to_go_on_from_but_its_value_counts(elsewhere: Any) -> None:
    evidence = after(made(5, 1.0, **elsewhere), made(6, 2.0, llm=ASKED))
    assert evidence.complete == 6
    assert [best.number for best in evidence.best(99)] == [6, 4, 3, 2, 1, 0]
    assert evidence.since_improvement == 1


@pytest.mark.parametrize(
    ("llm", "free", "menu", "stumbled"),
    [
        ({"calls": 1, "form": "plain"}, True, False, False),
        ({"calls": 3, "reasks": 2, "form": "plain"}, True, False, True),
        ({"calls": 1, "form": "plain", "duplicate_of": 0}, True, False, True),
        ({"calls": 1, "form": "menu"}, False, True, False),
        ({"calls": 1, "form": "words"}, False, False, False),
        ({"calls": 0, "form": "plain"}, False, False, False),
        ({}, False, False, False),
        ({"calls": "x", "form": 5, "reasks": None}, False, False, False),
    ],
)
def test_each_trial_says_how_it_was_asked_for(llm: Any, free: bool, menu: bool, stumbled: bool) -> None:
    newest = after(made(5, 1.0, llm=llm)).newest
    assert (newest.free[-1], newest.menu[-1], newest.stumbled[-1]) == (free, menu, stumbled)


@pytest.mark.parametrize(
    ("context", "missed"),
    [
        ({"complete": 5, "pruned": 0, "failed": 1}, 0),
        ({"complete": 2, "pruned": 1, "failed": 1, "running": 9}, 2),
        ({"complete": 99, "pruned": 0, "failed": 0}, 0),
        ({"complete": 2}, 0),
        ({"complete": "2", "pruned": 1, "failed": 1}, 0),
        ([2, 1, 1], 0),
    ],
)
def test_how_many_results_a_prompt_had_not_seen_is_read_from_its_record(context: Any, missed: int) -> None:
    evidence = after(made(5, 3.0), made(6, 4.0, llm=ASKED | {"context": context}))
    assert evidence.newest.missed.tolist() == [0] * 6 + [missed]
    assert evidence.newest.seen.tolist() == [0, 1, 2, 3, 4, 5, 6 - missed]
