"""What a prompt shows: rows in order of completion, the same whether grown or rebuilt, evicted in blocks."""

import datetime
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE, SchemaModel, sampler, study_view

from optuna_llm import ContextPolicy, Proposal, UsageError, optimize_async
from optuna_llm.engine.study.history import History
from optuna_llm.engine.study.snapshot import Snapshot
from optuna_llm.samplers.prompt.context import BLOCK, Context, block_size, build_context
from optuna_llm.samplers.prompt.messages import Subject, render, render_head
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.rows import curve

START = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 (Optuna's times are naive)
SPACE_ = make_space(SPACE)
PARAMS = {"lr": 0.0123456, "momentum": 0.3, "layers": 3, "optimizer": None}
MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


def trial(
    number: int, state: TrialState = TrialState.COMPLETE, value: float | None = None, **attrs: Any
) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=float(number if value is None else value) if state is TrialState.COMPLETE else None,
        params=PARAMS,
        distributions=SPACE,
        user_attrs=attrs,
        intermediate_values={3: 0.5} if state is TrialState.PRUNED else {},
    )
    made.number = number
    if state.is_finished():
        made.datetime_complete = START + datetime.timedelta(seconds=number)
    return made


def shown(snapshot: Snapshot, policy: ContextPolicy | None = None, head: int = 0, **more: Any) -> Context:
    """What is shown of a study that nobody has looked at."""
    return build_context(study_view().at(snapshot), policy or ContextPolicy(), head, **more)


def context_of(
    trials: Sequence[FrozenTrial], policy: ContextPolicy | None = None, direction: StudyDirection = MINIMIZE
) -> Context:
    history = History()
    history.extend(trials)
    snapshot = Snapshot(finished=history.finished, running=history.running)
    return build_context(study_view(direction=direction).at(snapshot), policy or ContextPolicy())


def test_rows_hold_number_result_and_values_in_the_notation_of_their_column() -> None:
    (row,) = context_of([trial(0, value=0.987654321)]).history
    assert (row.number, row.result, row.cells) == (0, "0.9877", ("0.01235", "0.3", "3", "null"))


def test_pruned_rows_say_where_and_failed_rows_say_so() -> None:
    rows = context_of([trial(0, TrialState.PRUNED), trial(1, TrialState.FAIL)]).history
    assert [row.result for row in rows] == ["pruned[3:0.5]", "failed"]


def test_the_best_rows_stand_best_last() -> None:
    values = [3.0, 1.0, 2.0, 5.0]
    trials = [trial(number, value=value) for number, value in enumerate(values)]
    assert [row.number for row in context_of(trials).best] == [0, 2, 1]
    assert [row.number for row in context_of(trials, direction=MAXIMIZE).best] == [2, 0, 3]


def test_of_equal_values_the_earlier_trial_is_better() -> None:
    trials = [trial(number, value=1.0) for number in range(3)]
    for direction in (MINIMIZE, MAXIMIZE):
        assert [row.number for row in context_of(trials, direction=direction).best] == [2, 1, 0]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("message", (("0", 'MemoryError: "out of memory"'),)), ("type", (("0", "MemoryError"),)), (None, ())],
)
def test_the_policy_decides_what_is_shown_of_a_failure(policy: Any, expected: Any) -> None:
    failure = {"type": "MemoryError", "message": "out of\nmemory", "traceback": "..."}
    context = context_of([trial(0, TrialState.FAIL, failure=failure)], ContextPolicy(failure_text=policy))
    assert context.failures == expected


def test_of_failures_without_a_record_no_reason_is_shown() -> None:
    context = context_of([trial(0, TrialState.FAIL)])
    assert [row.result for row in context.history] == ["failed"]
    assert context.failures == ()


def test_an_interrupted_trial_is_no_failure_of_its_configuration() -> None:
    context = context_of([trial(0, TrialState.FAIL, failure={"type": "Interrupted", "message": "by a signal"})])
    assert [row.result for row in context.history] == ["interrupted"]
    assert context.failures == ()


def test_running_trials_and_reservations_are_in_flight() -> None:
    proposal = Proposal(params=PARAMS, distributions=SPACE)
    snapshot = Snapshot(running=(trial(4, TrialState.RUNNING),), reserved=(proposal,))
    rows = shown(snapshot).in_flight
    assert [(row.number, row.result) for row in rows] == [(4, "running"), (None, "reserved")]


def test_a_running_trial_without_values_shows_those_it_was_assigned() -> None:
    bare = create_trial(state=TrialState.RUNNING)
    bare.number = 7
    snapshot = Snapshot(running=(bare,), assigned={7: Proposal(params=PARAMS, distributions=SPACE)})
    (row,) = shown(snapshot).in_flight
    assert (row.number, row.cells) == (7, ("0.01235", "0.3", "3", "null"))


def test_a_reason_is_given_once_with_the_trials_that_failed_for_it() -> None:
    kinds = ["A", "B", *["C"] * 7, "A"]
    trials = [trial(n, TrialState.FAIL, failure={"type": kind, "message": ""}) for n, kind in enumerate(kinds)]
    assert context_of(trials).failures == (("1", "B"), ("4, 5, 6, 7, 8 and 2 more", "C"), ("0, 9", "A"))
    assert context_of(trials, ContextPolicy(failures=1)).failures == (("0, 9", "A"),)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({0: 0.5}, "[0:0.5]"),
        ({1: 0.9, 2: 0.61239, 3: 0.4, 4: 0.3}, "[1:0.9 2:0.6124 3:0.4 4:0.3]"),
        ({step: 1 / step for step in range(1, 101)}, "[1:1 5:0.2 22:0.04545 100:0.01]"),
        ({30: 3.0, 10: 1.0}, "[10:1 30:3]"),
    ],
)
def test_a_learning_curve_is_shown_in_a_few_points_with_its_first_and_last_step(
    values: dict[int, float], text: str
) -> None:
    assert curve(values) == text


def test_curves_stand_with_the_results_of_finished_and_running_trials() -> None:
    finished, running = trial(0, value=0.25), trial(1, TrialState.RUNNING)
    for one in (finished, running):
        one.intermediate_values = {1: 0.5, 2: 0.25}
    context = shown(Snapshot(finished=(finished,), running=(running,)))
    assert [row.result for row in context.history] == ["0.25[1:0.5 2:0.25]"]
    assert [row.result for row in context.in_flight] == ["running[1:0.5 2:0.25]"]


@given(st.integers(0, 400), st.integers(0, 200), st.integers(500, 4000))
def test_eviction_moves_in_blocks_and_keeps_within_rows_and_tokens(count: int, limit: int, tokens: int) -> None:
    policy = ContextPolicy(history=limit, tokens=tokens)
    trials = [trial(number) for number in range(count + 1)]
    now, then = (context_of(trials[:n], policy) for n in (count, count + 1))
    header = sum(map(len, SPACE)) + len(SPACE)
    room = policy.character_budget(0, header=header).history
    block = block_size(len(SPACE), room, limit)
    assert now.omitted == count - len(now.history)
    assert len(now.history) <= limit
    assert sum(len(row.line) + 1 for row in now.history) <= room
    assert now.omitted % block == 0 or now.omitted == count
    assert then.omitted >= now.omitted
    if now.omitted:
        width = max(len(row.line) + 1 for row in then.history) if then.history else 30
        one_block_more = sum(len(row.line) + 1 for row in now.history) + block * width
        assert len(now.history) + block > limit or one_block_more > room


def test_a_block_is_a_part_of_what_there_is_room_for() -> None:
    assert block_size(4, 100_000, 100) == BLOCK
    assert 1 <= block_size(200, 1000, 100) < BLOCK
    assert block_size(10_000, 10, 100) == 1
    assert block_size(4, 100_000, 10) == 2
    assert block_size(4, 100_000, 0) == 1


@pytest.mark.parametrize("history", [1, 5, 10, 20])
def test_a_short_history_shows_at_least_three_quarters_of_what_it_may(history: int) -> None:
    trials = [trial(number) for number in range(80)]
    for count in range(1, 80):
        count_shown = len(context_of(trials[:count], ContextPolicy(history=history)).history)
        assert min(count, history) * 3 / 4 <= count_shown + 0.5
        assert count_shown <= history


def test_a_history_of_nothing_is_not_said_to_be_empty() -> None:
    messages = render(context_of([trial(0), trial(1)], ContextPolicy(history=0)), SPACE_, "head")
    assert "# Finished trials\nall 2 are left out\n" in messages[1]["content"]


def test_marks_in_tables_are_explained_where_there_are_any() -> None:
    def text(one: FrozenTrial) -> str:
        return render(context_of([one]), SPACE_, "head")[1]["content"]

    whole, partial, curved = trial(0), trial(0), trial(0)
    partial.params = {name: value for name, value in whole.params.items() if name != next(iter(SPACE))}
    curved.intermediate_values = {1: 0.5}
    pruned = trial(0, TrialState.PRUNED)
    assert "In the tables" not in text(whole)
    absent = "- is a parameter that a trial does not have: give any allowed value for such a one"
    assert f"In the tables, {absent}.\n" in text(partial)
    assert "In the tables, [step:value ...] are values that a trial reported at these steps.\n" in text(curved)
    assert "; pruned is a trial that was stopped before it had a value.\n" in text(pruned)


def test_the_trial_that_asks_is_not_in_flight_beside_itself() -> None:
    running = tuple(trial(number, TrialState.RUNNING) for number in (3, 4))
    context = shown(Snapshot(running=running), own=3)
    assert [row.number for row in context.in_flight] == [4]
    assert context.running == 1


def wanted(words: str = "", *, asking: int = 1, **more: Any) -> str:
    """What the prompt asks for, its last paragraph."""
    context = shown(Snapshot(asking=asking), **more)
    return render(context, SPACE_, "", words=words)[-1]["content"].rpartition("\n\n")[2]


def test_a_lone_ask_whose_end_is_not_known_is_told_neither() -> None:
    assert wanted() == "Propose one configuration."


def test_one_that_must_be_new_is_asked_for_where_there_are_trials() -> None:
    def asked(*trials: FrozenTrial) -> str:
        return render(context_of(trials), SPACE_, "", new=True)[-1]["content"].rpartition("\n\n")[2]

    assert asked() == "Propose one configuration."
    assert asked(trial(0)) == "Propose one new configuration, different from every trial above."
    assert asked(trial(0, TrialState.RUNNING)) == "Propose one new configuration, different from every trial above."


def test_what_is_left_is_said_where_an_end_is_known() -> None:
    assert wanted(proposals_left=2) == "Propose one configuration. 2 proposals are left, this one included."
    assert wanted(proposals_left=1) == "Propose one configuration. It is the last one: nothing is tried after it."


def test_each_ask_of_a_wave_is_told_how_many_there_are_and_which_it_is() -> None:
    said = [wanted(asking=3, position=position) for position in (1, 2, 3)]
    assert all(" 3 proposals, yours among them, are being made at this moment" in text for text in said)
    assert [f"Yours is number {n}: " in text for n, text in enumerate(said, 1)] == [True] * 3
    assert said[0].endswith("number 1: take the most promising configuration.")
    assert "with a clearly different optimizer (what is most promising besides)" in said[1]
    assert "with a clearly different lr (what is most promising besides)" in said[2]


def test_a_wave_changes_choices_before_numbers_so_that_not_all_of_it_is_spent_on_a_wrong_one() -> None:
    space = make_space(
        {"a": FloatDistribution(0, 1), "b": IntDistribution(0, 9), "kind": CategoricalDistribution("uv")}
    )
    said = [render(shown(Snapshot(asking=4), position=n), space, "")[1]["content"] for n in (2, 3, 4)]
    assert [text.split("a clearly different ")[1].split(" (what")[0] for text in said] == ["kind", "a", "b"]


def test_asks_of_a_wave_differ_in_two_parameters_where_each_has_been_given_and_then_as_they_find() -> None:
    said = [wanted(asking=20, position=position) for position in range(1, 14)]
    changed = [text.split("a clearly different ")[1].split(" (what is")[0] for text in said[1:11]]
    ordered = ["optimizer", "lr", "momentum", "layers"]
    assert changed[:4] == ordered
    assert changed[4:] == [" and ".join(pair) for pair in itertools.combinations(ordered, 2)]
    assert all(text.endswith("differs from what each earlier number would take.") for text in said[11:])


def test_no_ask_of_a_wave_is_to_change_what_is_given_or_has_one_value() -> None:
    space = make_space({"seed": IntDistribution(1, 1), "only": CategoricalDistribution("x"), **SPACE})
    said = [
        render(shown(Snapshot(asking=4), position=n), space, "", fixed={"lr": 0.1})[1]["content"] for n in (2, 3, 4)
    ]
    changed = [text.split("a clearly different ")[1].split(" (what")[0] for text in said]
    assert changed == ["optimizer", "momentum", "layers"]


def test_a_position_beyond_the_asks_that_are_known_of_makes_them_more() -> None:
    assert " 5 proposals, yours among them, are being made at this moment" in wanted(asking=2, position=5)


def test_words_of_a_strategy_do_not_hide_the_wave() -> None:
    assert wanted("Be bold.", asking=3, position=2).endswith("the rest changed only as that requires. Be bold.")


def test_a_menu_stands_in_place_of_the_wave_since_no_two_have_a_candidate_in_common() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="menu"))
    run = partial(optimize_async, study, lambda trial: trial.params["lr"], n_trials=6, n_workers=3, search_space=SPACE)
    anyio.run(run)
    menus = [text for text in model.prompts if "Take it from these candidates" in text]
    assert menus
    assert not any("being computed" in text for text in menus)


def test_reasons_of_failures_and_guidance_keep_to_the_ceiling() -> None:
    policy = ContextPolicy(tokens=2000)
    failed = [trial(n, TrialState.FAIL) for n in range(40)]
    for one in failed:
        one.set_user_attr("failure", {"type": "Error", "message": f"number {one.number}: {'so it is ' * 30}"})
    head = render_head(SPACE_, Subject(task="A task."), MINIMIZE)
    running = tuple(trial(1000 + n, TrialState.RUNNING) for n in range(64))
    for length in (0, 450):
        snapshot = Snapshot(finished=(*failed, *(trial(100 + n) for n in range(40))), running=running)
        context = shown(snapshot, policy, len(head), guidance=length)
        messages = render(context, SPACE_, head, words="x" * length)
        assert len(context.failures) >= 1
        assert len(messages[0]["content"]) / 2.5 + len(messages[1]["content"]) / 1.5 <= 2000


def test_a_prompt_stops_growing_at_its_ceiling() -> None:
    policy = ContextPolicy(tokens=1000)
    lengths = []
    for count in range(0, 300, 10):
        running = tuple(trial(1000 + n, TrialState.RUNNING) for n in range(64))
        snapshot = Snapshot(finished=tuple(trial(n) for n in range(count)), running=running)
        head = render_head(SPACE_, Subject(task="A task."), MINIMIZE)
        context = shown(snapshot, policy, len(head))
        messages = render(context, SPACE_, head)
        lengths.append(len(messages[0]["content"]) / 2.5 + len(messages[1]["content"]) / 1.5)
        assert "are not shown" in messages[1]["content"]
    assert max(lengths) <= 1000
    assert max(lengths[15:]) <= max(lengths[:15])


states = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])


@given(st.lists(st.tuples(states, st.floats(-1, 1)), max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_a_grown_view_gives_the_same_bytes_as_a_rebuild(drawn: list[Any], cuts: list[int]) -> None:
    trials = [trial(n, state, value) for n, (state, value) in enumerate(drawn)]
    policy = ContextPolicy(history=20)
    grown = study_view()
    for cut in sorted(cuts):
        build_context(grown.at(Snapshot(finished=tuple(trials[:cut]))), policy)
    whole = Snapshot(finished=tuple(trials))
    texts = [render(build_context(view.at(whole), policy), SPACE_, "head") for view in (grown, study_view())]
    assert texts[0] == texts[1]


def test_history_is_a_prefix_of_the_next_prompt() -> None:
    def history(count: int) -> str:
        messages = render(context_of([trial(n) for n in range(count)]), SPACE_, "head")
        return messages[1]["content"].split("\n\n# Best")[0]

    for count in range(1, 60):
        assert history(count + 1).startswith(history(count))


@pytest.mark.parametrize("field", ["tokens", "history", "best", "failures", "in_flight"])
def test_a_policy_refuses_what_is_no_count(field: str) -> None:
    negative: dict[str, Any] = {field: -1}
    with pytest.raises(UsageError, match=field):
        ContextPolicy(**negative)
    with pytest.raises(UsageError, match="failure_text"):
        ContextPolicy(failure_text="all")  # type: ignore[arg-type]


flying = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, len(SPACE)), st.booleans()), max_size=6, unique_by=lambda item: item[0]
)


@given(st.lists(flying, min_size=1, max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_what_is_in_flight_in_a_grown_view_equals_that_in_a_new_one(moments: list[Any], reserved: list[int]) -> None:
    proposals = [Proposal(params={**PARAMS, "layers": 2 * n + 1}, distributions=SPACE) for n in range(4)]
    grown = study_view()
    for moment, trials in enumerate(moments):
        running = []
        for number, count, _ in sorted(trials):
            known = dict(list(PARAMS.items())[:count])
            made = create_trial(
                state=TrialState.RUNNING, params=known, distributions={name: SPACE[name] for name in known}
            )
            made.number = number
            running.append(made)
        snapshot = Snapshot(
            running=tuple(running),
            reserved=tuple(proposals[n] for n in sorted(set(reserved[moment:]))),
            assigned={number: proposals[0] for number, _, assigned in trials if assigned},
        )
        assert grown.at(snapshot).in_flight == study_view().at(snapshot).in_flight
