"""When a model is given menus: by what this study's own trials show, and by nothing else."""

import random
from typing import Any

import anyio
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE, sampler

from benchmarks.quality.strengths import Outcome, study_of
from optuna_llm import Guidance, ProposalError, Situation, optimize_async
from optuna_llm.samplers.guidance.adaptive import (
    COMPARED_FREE,
    COMPARED_TRIALS,
    FRUITLESS,
    MENUS_BETTER,
    PROBE,
    PROBE_EVERY,
    PROBE_EVERY_AT_MOST,
    STUMBLES,
    TRY,
    Adaptive,
    fruitless,
    menus_better,
    menus_idle,
    need_of,
    probe_every,
    stumbles,
)
from optuna_llm.samplers.guidance.strategy import OpenAsk
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.evidence import Evidence

COLUMNS = make_space(SPACE)


def asked(form: str, value: float, **llm: Any) -> FrozenTrial:
    """A trial of a free ask ("plain") or a menu."""
    rng = random.Random(repr((form, value, llm)))
    params = {"lr": 10 ** rng.uniform(-5, -1), "momentum": 0.5, "layers": 3, "optimizer": "adam"}
    record = {"calls": 1, "reasks": 0, "duplicate_of": None, "form": form, **llm}
    return create_trial(params=params, distributions=SPACE, value=value, user_attrs={"llm": record})


def failing(form: str) -> FrozenTrial:
    record = {"calls": 1, "reasks": 0, "duplicate_of": None, "form": form}
    return create_trial(state=TrialState.FAIL, user_attrs={"llm": record} if form else {})


def after(*trials: FrozenTrial) -> Evidence:
    evidence = Evidence(Axes(COLUMNS), StudyDirection.MINIMIZE)
    evidence.update(trials)
    return evidence


def guided(evidence: Evidence, ordinal: int, **more: Any) -> Guidance:
    situation = Situation(
        space=COLUMNS, direction=StudyDirection.MINIMIZE, evidence=evidence, ordinal=ordinal, proposed=ordinal, **more
    )
    return Adaptive().guide(situation)


GOOD = asked("plain", 1.0)
REPEATS = asked("plain", 1.0, duplicate_of=0)
REASKED = asked("plain", 1.0, calls=2, reasks=1)


def test_a_study_begins_free() -> None:
    assert not need_of(after())
    assert [guided(after(), ordinal).form for ordinal in range(8)] == ["plain"] * 8


@pytest.mark.parametrize(
    ("trials", "found"),
    [
        ([REPEATS], True),
        ([GOOD, GOOD, GOOD, REASKED], True),
        ([GOOD, GOOD, GOOD, GOOD, REPEATS], False),
        ([REPEATS, GOOD], False),
        ([REPEATS, GOOD, REPEATS], True),
        ([REPEATS, GOOD, REPEATS, GOOD], True),
        ([GOOD, GOOD, GOOD, GOOD, GOOD, REASKED, REASKED], True),
        ([REPEATS, REPEATS, REPEATS, GOOD], True),
        ([REPEATS, REPEATS, REPEATS, GOOD, GOOD, GOOD], False),
        ([GOOD, GOOD, GOOD, REPEATS] * 8, True),
        ([GOOD, GOOD, GOOD, GOOD, REPEATS] * 8, False),
    ],
)
def test_a_model_that_stumbles_at_first_or_again_needs_menus_until_it_no_longer_does(
    trials: list[FrozenTrial], found: bool
) -> None:
    assert stumbles(after(*trials).newest) == found


def test_a_model_that_never_beats_what_it_was_shown_needs_menus() -> None:
    shown = asked("", 1.0, calls=0)
    worse = [asked("plain", 2.0 + n) for n in range(2)]
    assert not fruitless(after(shown, *worse[:1]).newest)
    assert fruitless(after(shown, *worse).newest)
    assert need_of(after(shown, *worse))
    assert fruitless(after(shown, *[asked("plain", 1.0, n=n) for n in range(2)]).newest)
    assert not fruitless(after(shown, *worse, asked("plain", 0.9)).newest)
    assert not fruitless(after(*worse, *worse).newest)


@pytest.mark.parametrize(("given", "asks"), [(1, 2), (2, 4), (3, 5), (20, 5)])
def test_the_more_a_model_was_shown_the_longer_it_may_stay_behind_the_best_of_it(given: int, asks: int) -> None:
    shown = [asked("", 1.0 + n, calls=0) for n in range(given)]
    worse = [asked("plain", 2.0 + n) for n in range(asks)]
    assert not fruitless(after(*shown, *worse[:-1]).newest)
    assert fruitless(after(*shown, *worse).newest)


def test_a_model_that_was_shown_no_value_is_behind_nothing_though_all_of_its_trials_fail() -> None:
    failed = [failing("plain") for _ in range(6)]
    assert not fruitless(after(asked("plain", 1.0), *failed).newest)
    assert not fruitless(after(failing(""), *failed).newest)
    assert fruitless(after(failing(""), asked("", 1.0, calls=0), *failed).newest)


def test_a_first_wave_that_saw_no_result_says_nothing_of_a_model() -> None:
    shown, nothing, one = asked("", 1.0, calls=0), counted(0), counted(1)
    wave = [asked("plain", 2.0 + n, context=nothing) for n in range(7)]
    assert not fruitless(after(shown, *wave).newest)
    later = [asked("plain", 2.0 + n, context=one) for n in range(2)]
    assert not fruitless(after(shown, *wave, *later[:1]).newest)
    assert fruitless(after(shown, *wave, *later).newest)


def counted(complete: int) -> dict[str, int]:
    return {"complete": complete, "pruned": 0, "failed": 0, "running": 7}


def test_what_menus_gave_says_nothing_of_stumbling() -> None:
    assert not stumbles(after(*[asked("menu", 1.0, duplicate_of=0)] * 5).newest)


def test_menus_are_compared_with_three_free_asks() -> None:
    free, menu = [asked("plain", value) for value in (1, 2, 3)], [asked("menu", value) for value in (0, 0.5, 2.5)]
    assert menus_better(after(*free[:2], *menu).newest) is None
    assert menus_better(after(*free, *menu).newest) == pytest.approx(7 / 9)
    assert need_of(after(*free, *menu))
    assert not need_of(after(*free, *[asked("menu", 5.0 + n) for n in range(3)]))
    assert menus_better(after(*free).newest) is None
    assert need_of(after(*free, asked("menu", 1.5)))
    assert not need_of(after(*free, asked("menu", 2.5)))


def test_menus_that_improve_nothing_end_where_free_asks_have_found_what_is_best() -> None:
    bold = [asked("", 6.4, calls=0), *(asked("plain", value) for value in (0.2, 0.0, 0.5, 1.6, 1.7, 0.9))]
    menus = [asked("menu", value) for value in (1.1, 0.7, 0.6)]
    assert need_of(after(*bold, *menus[:2]))
    assert not need_of(after(*bold, *menus))
    assert not need_of(after(*bold, *menus, asked("plain", 1.8)))
    assert need_of(after(*bold, *menus, asked("menu", -0.1)))


def test_menus_that_improve_nothing_go_on_where_they_beat_all_free_asks_but_a_lucky_one() -> None:
    lucky = [asked("", 6.4, calls=0), *(asked("plain", value) for value in (3.0, 0.0, 4.0, 5.0, 3.5, 4.5))]
    assert need_of(after(*lucky, *(asked("menu", 1.0 + n) for n in range(3))))


def test_menus_go_on_where_all_trials_are_alike() -> None:
    alike = [asked("", 1.0, calls=0), *(asked("plain", 1.0, n=n) for n in range(3))]
    assert need_of(after(*alike, *(asked("menu", 1.0, n=n) for n in range(4))))


def test_what_free_asks_improved_long_ago_does_not_end_menus() -> None:
    begun = [failing(""), *(asked("plain", value) for value in (3.0, 2.0, 1.0))]
    alike = [asked(form, 9.0 + n / 10) for n in range(COMPARED_TRIALS) for form in ("menu", "plain")]
    later = [asked("plain", 5.0), *alike[: COMPARED_TRIALS - 1]]
    assert menus_idle(after(*begun, *later[:10]).newest)
    assert not menus_idle(after(*begun, *later).newest)


def test_a_menu_is_tried_by_the_eighth_ask_although_the_model_still_improves() -> None:
    improving = after(*[asked("plain", 9.0 - n) for n in range(7)])
    assert [n for n in range(20) if guided(improving, n).form == "menu"] == [7, 17]
    few = after(asked("", 9.5, calls=0), *[asked("plain", 9.0 - n) for n in range(2)])
    assert guided(few, 7).form == "plain"


def test_no_menu_is_tried_where_free_trials_give_no_value_to_compare_it_with() -> None:
    for count in range(COMPARED_FREE):
        trials = [*[asked("plain", 9.0 - n) for n in range(count)], *[failing("plain") for _ in range(7 - count)]]
        assert guided(after(*trials), 7).form == "plain"


def test_a_model_that_still_improves_beside_its_menus_has_no_other_tried() -> None:
    tried = after(*[asked("plain", 9.0 - n) for n in range(7)], asked("menu", 3.5), asked("plain", 1.0))
    assert [guided(tried, n).form for n in range(8, 20)] == ["plain"] * 12


def test_one_ask_in_ten_tries_a_menu_once_the_last_trials_improved_nothing() -> None:
    waiting = after(*[asked("plain", 9.0 - n) for n in range(5)], asked("plain", 6.0), asked("plain", 5.5))
    assert not need_of(waiting)
    assert [n for n in range(40) if guided(waiting, n).form == "menu"] == [7, 17, 27, 37]


@pytest.mark.parametrize(
    ("proposals_left", "others", "form"),
    [(None, 7, "menu"), (13, 7, "menu"), (12, 7, "menu"), (11, 7, "plain"), (5, 0, "menu"), (4, 0, "plain")],
)
def test_no_menu_is_tried_after_whose_result_little_would_be_asked(
    proposals_left: int | None, others: int, form: str
) -> None:
    waiting = after(*[asked("plain", 9.0 - n) for n in range(5)], asked("plain", 6.0), asked("plain", 5.5))
    open_asks = (OpenAsk(),) * others
    assert guided(waiting, 17, proposals_left=proposals_left, open=open_asks).form == form


@pytest.mark.parametrize(
    ("trials", "ordinal", "form", "reason"),
    [
        ([GOOD, asked("plain", 0.5), REASKED], 3, "menu", STUMBLES),
        ([asked("", 1.0, calls=0), asked("plain", 2.0), asked("plain", 3.0)], 3, "menu", FRUITLESS),
        ([*[asked("plain", 9.0 - n) for n in range(7)], asked("menu", 1.0)], 8, "menu", MENUS_BETTER),
        ([*[asked("plain", 9.0 - n) for n in range(7)], asked("menu", 1.0)], 10, "plain", PROBE),
        ([asked("plain", 9.0 - n) for n in range(7)], 7, "menu", TRY),
        ([asked("plain", 9.0 - n) for n in range(7)], 8, "plain", ""),
    ],
)
def test_an_ask_says_why_it_has_a_menu_or_why_not_though_the_model_needs_one(
    trials: list[FrozenTrial], ordinal: int, form: str, reason: str
) -> None:
    guidance = guided(after(*trials), ordinal)
    assert (guidance.form, guidance.reason) == (form, reason)


@pytest.mark.parametrize(
    ("trials", "ordinal", "optional"),
    [
        ([asked("plain", 9.0 - n) for n in range(7)], 7, True),
        ([asked("", 1.0, calls=0), *(asked("plain", 2.0 + n) for n in range(2))], 3, True),
        ([asked("", 1.0, calls=0), *(asked("plain", 2.0 + n) for n in range(4))], 6, True),
        ([asked("", 1.0, calls=0), *(asked("plain", 2.0 + n) for n in range(5))], 6, False),
        ([GOOD, asked("plain", 0.5), REASKED], 3, False),
        ([*[asked("plain", 9.0 - n) for n in range(7)], asked("menu", 1.0)], 8, False),
    ],
)
def test_menus_may_be_declined_while_they_are_tried_and_while_few_trials_speak_for_them(
    trials: list[FrozenTrial], ordinal: int, optional: bool
) -> None:
    guidance = guided(after(*trials), ordinal)
    assert (guidance.form, guidance.optional) == ("menu", optional)


def test_of_an_ask_that_is_free_since_nothing_new_is_left_no_reason_for_a_menu_is_given() -> None:
    guidance = guided(after(REPEATS, REPEATS), 3, is_known=lambda _: True)
    assert (guidance.form, guidance.reason) == ("plain", "")


def test_of_free_asks_the_last_three_are_compared_so_that_a_model_that_got_better_is_soon_believed() -> None:
    bad, menu = [asked("plain", 9.0 + n) for n in range(6)], [asked("menu", 2.0 + n) for n in range(6)]
    assert need_of(after(*bad, *menu))
    assert not need_of(after(*bad, *menu, *[asked("plain", 1.0 + n / 10) for n in range(3)]))


def test_free_asks_go_on_now_and_then_and_ever_more_rarely_while_they_fail() -> None:
    menus = [asked("menu", value) for value in (1.0, 2.0, 3.0)]
    every = [probe_every(after(*menus, *[REPEATS] * failed).newest) for failed in range(1, 7)]
    assert every == [PROBE_EVERY, 10, 20, PROBE_EVERY_AT_MOST, PROBE_EVERY_AT_MOST, PROBE_EVERY_AT_MOST]
    assert probe_every(after(*menus, *[REPEATS] * 3, GOOD).newest) == PROBE_EVERY
    worse = [asked("plain", 9.0)] * 2
    assert probe_every(after(*menus, GOOD, *worse).newest) == 10
    stumbling = after(*menus, REPEATS, REPEATS, REPEATS)
    forms = [guided(stumbling, ordinal).form for ordinal in range(40, 80)]
    assert forms.count("plain") == 2


def test_free_asks_that_failed_before_the_first_menu_delay_no_probe() -> None:
    worse = [asked("plain", 9.0 + n) for n in range(6)]
    assert probe_every(after(*worse, asked("menu", 1.0)).newest) == PROBE_EVERY
    assert probe_every(after(*worse, asked("menu", 1.0), asked("plain", 8.0), asked("plain", 7.0)).newest) == 10
    assert probe_every(after(*worse).newest) == PROBE_EVERY


def mean(name: str, strategy: str = "adaptive", *, seeds: int = 6, **options: Any) -> dict[str, float]:
    """What studies of one model of known strength come to, on average."""
    trials = options.pop("trials", 24)
    found: list[Outcome] = [
        anyio.run(lambda: study_of(name, strategy, seed, trials=trials, **options))  # noqa: B023
        for seed in range(seeds)
    ]
    quarters = {f"menus {n}": sum(outcome.menus(n) for outcome in found) / seeds for n in range(4)}
    best = sum(outcome.best(trials) for outcome in found) / seeds
    return {**quarters, "best": best, "calls": sum(outcome.calls for outcome in found) / seeds}


@pytest.mark.parametrize("workers", [1, 8])
def test_a_model_that_learns_hardly_sees_a_menu(workers: int) -> None:
    found = mean("learns", workers=workers)
    assert sum(found[f"menus {n}"] for n in range(4)) / 4 <= 0.1
    assert found["calls"] == 1.0
    assert found["best"] < 0.01


def test_a_model_that_declines_its_menus_pays_one_call_more_in_ten_asks_and_is_never_held_up() -> None:
    found, free = mean("learns-declines"), mean("learns-declines", "plain")
    assert [found[f"menus {n}"] for n in range(4)] == [0.0] * 4
    assert found["best"] == free["best"]
    assert 1.0 < found["calls"] <= 1.1


def test_a_model_that_knows_without_learning_is_mostly_left_free() -> None:
    found = mean("knows")
    assert sum(found[f"menus {n}"] for n in range(4)) / 4 <= 0.25
    assert found["calls"] == 1.0
    assert found["best"] < 0.05


@pytest.mark.parametrize("name", ["sits", "copies"])
def test_a_model_that_repeats_itself_is_soon_carried(name: str) -> None:
    found, free = mean(name), mean(name, "plain")
    assert min(found[f"menus {n}"] for n in (1, 2, 3)) > 0.8
    assert found["calls"] < 1.3 < free["calls"]
    assert found["best"] < free["best"] / 2


def test_a_model_that_draws_at_random_is_carried_without_a_repetition() -> None:
    found, free = mean("draws", trials=40), mean("draws", "plain", trials=40)
    assert found["menus 3"] > 0.8
    assert found["best"] < free["best"] / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["draws-then-knows", "sits-then-knows"])
def test_a_model_that_gets_better_is_left_free_again(name: str) -> None:
    found = mean(name, trials=40)
    assert found["menus 2"] < 0.3
    assert found["menus 3"] < 0.1
    assert found["best"] < 0.01


def test_a_model_that_is_always_wrong_ends_the_run_and_no_trial_is_made() -> None:
    study = optuna.create_study(sampler=sampler(lambda _: {"lr": "?"}))

    async def run() -> None:
        await optimize_async(study, lambda _: 0.0, n_trials=9, search_space=SPACE)

    with pytest.raises(ProposalError):
        anyio.run(run)
    assert study.trials == []
