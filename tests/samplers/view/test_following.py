"""Caches that met trials in another order than that of their completion equal new ones."""

import datetime
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE

from optuna_llm.engine.study.history import History
from optuna_llm.engine.study.snapshot import Snapshot
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view import evidence as evidence_module
from optuna_llm.samplers.view import following
from optuna_llm.samplers.view.duplicates import DuplicateIndex
from optuna_llm.samplers.view.evidence import CAPACITY, STEP_SIZES, WINDOW, Evidence, TrialWindow
from optuna_llm.samplers.view.following import UNDO_DEPTH, OtherSpending, common_ends, common_prefix
from optuna_llm.samplers.view.rows import FinishedRows

START = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 (Optuna's times are naive)
AXES = Axes(make_space(SPACE))
FAILURES = (None, None, None, "Interrupted", "RunDied", "MemoryError", "pruned")


def made(number: int, seed: int, end: int) -> FrozenTrial:
    """A finished trial of any kind, with its record."""
    rng = random.Random(seed)
    params = {
        "lr": 10 ** rng.uniform(-5, -1),
        "momentum": rng.randrange(11) / 10,
        "layers": rng.choice((1, 3, 5, 7, 9)),
        "optimizer": rng.choice(("adam", "sgd", None)),
    }
    kept = rng.sample(sorted(params), rng.choice((0, 2, 4, 4, 4)))
    kind = rng.choice(FAILURES)
    state = {None: TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(kind, TrialState.FAIL)
    llm = {
        "calls": rng.randrange(3),
        "reasks": rng.randrange(2),
        "role": rng.choice(("explore", "refine", "combine", None)),
        "form": rng.choice(("menu", "words")),
        "inside": rng.choice((None, 0.25, 1.0)),
        "run": rng.choice("ab"),
        "usage": {"prompt_tokens": rng.randrange(99), "completion_tokens": 1, "cost": rng.randrange(9) / 4},
    }
    trial = create_trial(
        state=state,
        value=rng.choice((1.0, rng.random(), float("inf"))) if kind is None else None,
        params={name: params[name] for name in params if name in kept},
        distributions={name: SPACE[name] for name in params if name in kept},
        user_attrs={"llm": llm} | ({"failure": {"type": kind}} if state is TrialState.FAIL else {}),
        system_attrs={"retry_history": [rng.randrange(number)]} if number and not rng.randrange(4) else {},
    )
    trial.number = number
    trial.datetime_complete = START + datetime.timedelta(seconds=end)
    return trial


@st.composite
def views(draw: st.DrawFn) -> list[Sequence[FrozenTrial]]:
    """What a process sees at several moments: trials in order of completion, some late; at times an old view."""
    seeds = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
    delays = draw(st.lists(st.integers(0, 8), min_size=len(seeds), max_size=len(seeds)))
    ends = draw(st.permutations(range(len(seeds))))
    trials = [made(number, seed, end) for number, (seed, end) in enumerate(zip(seeds, ends, strict=True))]
    seen = sorted(trials, key=lambda trial: ends[trial.number] + delays[trial.number])
    history, found, at = History(), [], 0
    while at < len(seen):
        step = draw(st.integers(1, 5))
        history._append(seen[at : at + step])
        at += step
        found.append(history.finished)
        if draw(st.booleans()):
            found.append(found[draw(st.integers(0, len(found) - 1))])
            found.append(found[-1][: draw(st.integers(0, len(found[-1])))])
    return [*found, history.finished]


@contextmanager
def undoing(count: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(following, "UNDO_DEPTH", count)
        patched.setattr(evidence_module, "UNDO_DEPTH", count)
        yield


FEW = st.sampled_from([2, UNDO_DEPTH])


def of_rows(rows: FinishedRows) -> Any:
    failed = [trial.number for trial in rows.failed]
    return rows.known, rows.counts, failed, rows.best(99), rows.rows(0), rows.first_within(20, 500)


def newest(evidence: Evidence, found: TrialWindow) -> str:
    return repr(
        (
            found.places.tolist(),
            found.losses.tolist(),
            [flags.tolist() for flags in (found.failed, found.free, found.menu, found.stumbled)],
        )
    )


def of_evidence(evidence: Evidence) -> Any:
    counts = (evidence.known, evidence.complete, evidence.proposed, evidence.since_improvement, evidence.trust)
    best = [(best.number, best.value, best.params, repr(best.places)) for best in evidence.best(99)]
    return counts, best, newest(evidence, evidence.newest), evidence.cached_per_step(newest)


def grown(cache: Any, new: Callable[[], Any], looks: Sequence[Sequence[FrozenTrial]], summary: Any) -> None:
    """A cache that is kept up from look to look, by slices, equals a new one at each."""
    for finished in looks:
        while (known := cache.known_prefix(finished)) + 7 < len(finished):
            cache.update(finished, known + 7)
        cache.update(finished)
        fresh = new()
        fresh.update(finished)
        assert summary(cache) == summary(fresh)


@given(views(), FEW)
def test_rows_that_met_trials_late_equal_new_ones(looks: Any, few: int) -> None:
    with undoing(few):
        grown(finished_rows(), finished_rows, looks, of_rows)


@given(views(), FEW)
def test_evidence_that_met_trials_late_equals_new_evidence(looks: Any, few: int) -> None:
    with undoing(few):
        grown(evidence(), evidence, looks, of_evidence)


@given(views(), FEW)
def test_an_index_that_met_trials_late_equals_a_new_one_of_all_that_it_met(looks: Any, few: int) -> None:
    index, fresh = DuplicateIndex(SPACE), DuplicateIndex(SPACE)
    with undoing(few):
        for finished in looks:
            while (known := index.known_prefix(finished)) + 7 < len(finished):
                index.update(finished, known + 7)
            index.update(finished)
    fresh.update(looks[-1])
    assert (index._groups, index._shapes) == (fresh._groups, fresh._shapes)


@given(views(), FEW)
def test_what_others_spent_is_the_same_in_any_order(looks: Any, few: int) -> None:
    others = OtherSpending({"a"})
    with undoing(few):
        for finished in looks:
            others.at(Snapshot(finished=finished))
    now = Snapshot(finished=looks[-1])
    assert others.at(now) == OtherSpending({"a"}).at(now)


def finished_rows() -> FinishedRows:
    return FinishedRows(tuple(SPACE), StudyDirection.MINIMIZE)


def evidence() -> Evidence:
    return Evidence(AXES, StudyDirection.MAXIMIZE)


def test_evidence_of_a_long_history_takes_back_what_it_can_and_equals_new_evidence() -> None:
    rng, history, kept = random.Random(0), History(), evidence()
    trials = [made(number, number, number) for number in range(2 * CAPACITY)]
    trials.sort(key=lambda trial: trial.number + rng.choice((0, 0, 0, rng.randrange(UNDO_DEPTH))))
    for count, trial in enumerate(trials):
        history._append([trial])
        kept.update(history.finished)
        if count % 97 == 0 or CAPACITY - 2 <= count <= CAPACITY + 2:
            fresh = evidence()
            fresh.update(history.finished)
            assert of_evidence(kept) == of_evidence(fresh)


def test_what_is_taken_back_leaves_a_window_and_a_step_of_rows() -> None:
    assert WINDOW + max(size for _, size in STEP_SIZES) <= CAPACITY // 2 - UNDO_DEPTH


def test_one_that_was_seen_late_is_all_that_is_looked_at_with_those_after_it() -> None:
    history = History()
    history.extend([made(number, number, 10 * number) for number in range(300)])
    caches = (finished_rows(), evidence(), DuplicateIndex(SPACE))
    for cache in caches:
        cache.update(history.finished)
    history.extend_one(made(300, 300, 10 * 297 + 5))
    assert [cache.known_prefix(history.finished) for cache in caches] == [298] * 3
    history.extend_one(made(301, 301, 15))
    assert [cache.known_prefix(history.finished) for cache in caches] == [0, 0, 0]


def test_what_is_computed_once_is_kept_if_only_later_trials_were_shifted() -> None:
    history, kept, calls = History(), evidence(), []
    history.extend([made(number, number, 10 * number) for number in range(70)])

    def compute(evidence: Evidence, found: TrialWindow) -> int:
        calls.append(len(found.losses))
        return len(found.losses)

    for late in (10 * 68 + 5, 10 * 62 + 5):
        kept.update(history.finished)
        assert kept.cached_per_step(compute) == 64
        history.extend_one(made(len(history.finished), 0, late))
    kept.update(history.finished)
    assert kept.cached_per_step(compute) == 64
    assert calls == [64, 64]


def test_what_follows_from_the_trials_is_kept_until_there_is_one_more_or_less() -> None:
    history, kept, calls = History(), evidence(), list[tuple[int, int]]()

    def compute(evidence: Evidence, factor: int, offset: int = 0) -> int:
        calls.append((evidence.known, factor))
        return factor * len(evidence.newest.losses) + offset

    history.extend([made(number, number, 10 * number) for number in range(3)])
    kept.update(history.finished)
    assert [kept.cached(compute, 2), kept.cached(compute, 3), kept.cached(compute, 2)] == [6, 9, 6]
    assert kept.cached(compute, 2, offset=1) == 7
    history.extend_one(made(3, 3, 15))  # it is seen late: the last trial is taken back, and comes after it
    kept.update(history.finished)
    assert kept.cached(compute, 2) == 8
    kept.update(history.finished)
    assert kept.cached(compute, 2) == 8
    assert calls == [(3, 2), (3, 3), (3, 2), (4, 2)]


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.lists(st.sampled_from("abcdef"), max_size=8))
def test_ends_that_two_sequences_share_do_not_overlap(one: list[str], other: list[str]) -> None:
    first, last = common_ends(one, other)
    assert first + last <= min(len(one), len(other))
    assert one[:first] == other[:first]
    assert one[len(one) - last :] == other[len(other) - last :]
    rest = one[first : len(one) - last], other[first : len(other) - last]
    assert not all(rest) or (rest[0][0] != rest[1][0] and rest[0][-1] != rest[1][-1])


@pytest.mark.parametrize(
    ("known", "finished", "count"), [("", "", 0), ("ab", "abc", 2), ("abd", "abcd", 2), ("b", "ab", 0)]
)
def test_two_views_agree_up_to_where_one_has_a_trial_more(known: str, finished: str, count: int) -> None:
    trials = {name: create_trial(value=0.0) for name in "abcd"}
    one, other = ([trials[name] for name in names] for names in (known, finished))
    assert common_prefix(one, other, min(len(one), len(other))) == count
