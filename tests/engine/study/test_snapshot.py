"""A history that grew reading by reading equals one that was read at once."""

import datetime
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_llm.engine.study.history import History

START = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 (Optuna's times are naive)
DISTRIBUTIONS = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1), "z": IntDistribution(0, 9)}


def trial(number: int, state: TrialState, *, end: float | None = None, **params: Any) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=1.0 if state is TrialState.COMPLETE else None,
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
    )
    made.number = number
    if end is not None:
        made.datetime_complete = START + datetime.timedelta(seconds=end)
    return made


@st.composite
def readings(draw: st.DrawFn) -> list[list[FrozenTrial]]:
    """A study as it was read at several moments: trials appear, start, suggest, and finish in any order."""
    ends = draw(st.lists(st.integers(0, 30), min_size=1, max_size=8))
    starts = sorted(draw(st.lists(st.integers(0, 30), min_size=len(ends), max_size=len(ends))))
    names = [draw(st.lists(st.sampled_from("xyz"), unique=True)) for _ in ends]

    def at(moment: int) -> list[FrozenTrial]:
        found = []
        for number, (start, length) in enumerate(zip(starts, ends, strict=True)):
            if start > moment:
                break
            params = dict.fromkeys(names[number], 0)
            if start + length <= moment:
                found.append(trial(number, TrialState.COMPLETE, end=start + length, **params))
            elif start == moment:
                found.append(trial(number, TrialState.WAITING))
            else:
                found.append(trial(number, TrialState.RUNNING, **dict(list(params.items())[: moment - start])))
        return found

    moments = draw(st.lists(st.integers(0, 70), min_size=1, max_size=6))
    return [at(moment) for moment in sorted([*moments, 70])]


def summary(history: History) -> tuple[Any, ...]:
    return (
        [t.number for t in history.finished],
        [t.number for t in history.running],
        [t.number for t in history.waiting],
        list(history.space.items()),
    )


@given(readings())
def test_growing_by_readings_equals_reading_once(moments: Sequence[list[FrozenTrial]]) -> None:
    grown, fresh = History(), History()
    for reading in moments:
        grown.extend(reading)
    fresh.extend(moments[-1])
    assert summary(grown) == summary(fresh)


@given(readings(), st.randoms(use_true_random=False))
def test_growing_trial_by_trial_equals_reading_once(moments: Sequence[list[FrozenTrial]], rng: random.Random) -> None:
    grown, fresh = History(), History()
    for reading in moments:
        for seen in rng.sample(reading, len(reading)):
            if not grown.extend_one(seen):
                grown.extend(reading)
    fresh.extend(moments[-1])
    assert summary(grown) == summary(fresh)


def test_a_trial_after_unknown_ones_asks_for_a_whole_reading() -> None:
    history = History()
    assert history.extend_one(trial(0, TrialState.RUNNING))
    assert not history.extend_one(trial(2, TrialState.RUNNING))
    assert [t.number for t in history.running] == [0]


def test_finished_trials_are_ordered_by_completion() -> None:
    history = History()
    history.extend([trial(0, TrialState.COMPLETE, end=9), trial(1, TrialState.FAIL, end=3)])
    assert [t.number for t in history.finished] == [1, 0]


def test_a_trial_seen_late_takes_its_place_by_completion() -> None:
    history = History()
    first = [trial(0, TrialState.RUNNING), trial(1, TrialState.COMPLETE, end=5)]
    history.extend(first)
    history.extend([trial(0, TrialState.COMPLETE, end=4), first[1]])
    assert [t.number for t in history.finished] == [0, 1]


def test_an_older_reading_loses_nothing() -> None:
    history = History()
    history.extend([trial(0, TrialState.COMPLETE, end=1), trial(1, TrialState.RUNNING)])
    history.extend([trial(0, TrialState.COMPLETE, end=1)])
    history.extend([trial(0, TrialState.COMPLETE, end=1), trial(1, TrialState.COMPLETE, end=2)])
    assert [t.number for t in history.finished] == [0, 1]
    assert history.running == ()


def test_a_reading_that_misses_a_trial_counts_as_far_as_it_is_whole() -> None:
    history = History()
    trials = [trial(number, TrialState.RUNNING) for number in range(4)]
    history.extend([trials[0], trials[2], trials[3]])
    assert history.running == (trials[0],)
    history.extend(trials)
    assert history.running == tuple(trials)
    history.extend([trials[0], trials[2], trials[3]])
    assert history.running == tuple(trials)


def test_a_finished_trial_is_looked_at_once() -> None:
    class Counting(list[FrozenTrial]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            type(self).reads += 1
            return super().__getitem__(index)

    trials = Counting([trial(n, TrialState.COMPLETE, end=n) for n in range(50)])
    history = History()
    history.extend(trials)
    Counting.reads = 0
    history.extend(trials)
    assert Counting.reads == 1  # the last one's number, which says that none is missing


def test_the_newest_distribution_of_a_name_is_kept_in_the_order_of_first_meeting() -> None:
    wide = FloatDistribution(0, 20)
    old, new = trial(0, TrialState.COMPLETE, end=0, x=0, y=0), trial(1, TrialState.COMPLETE, end=1, y=0, z=0)
    new.distributions = {"y": wide, "z": DISTRIBUTIONS["z"]}
    history = History()
    history.extend([old, new])
    assert list(history.space.items()) == [("x", DISTRIBUTIONS["x"]), ("y", wide), ("z", DISTRIBUTIONS["z"])]


@pytest.mark.parametrize("ahead", [datetime.timedelta(minutes=2), datetime.timedelta(days=400), None])
@pytest.mark.parametrize("zone", [None, datetime.UTC])
def test_trials_that_are_dated_ahead_do_not_stand_before_those_that_finish_later(
    ahead: datetime.timedelta | None, zone: datetime.tzinfo | None
) -> None:
    """Written by a host whose clock is ahead, or by hand, with a zone or without."""
    now = [START]

    def done(number: int, at: datetime.datetime) -> FrozenTrial:
        made = trial(number, TrialState.COMPLETE)
        made.datetime_complete = at.astimezone(zone) if zone else at
        return made

    history = History(clock=lambda: now[0])
    trials = [done(number, START + (ahead or datetime.timedelta(days=10**6))) for number in (0, 1)]
    if ahead is None and zone:
        trials[0].datetime_complete = trials[1].datetime_complete = None
    history.extend(trials)
    for number in (2, 3, 4):
        now[0] += datetime.timedelta(hours=1)
        trials = [*trials, done(number, now[0] - datetime.timedelta(seconds=5))]
        history.extend(trials)
    assert [t.number for t in history.finished] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seconds", [0, 5, 59])
def test_clocks_that_are_a_little_apart_change_no_order(seconds: int) -> None:
    history = History(clock=lambda: START)
    history.extend([trial(0, TrialState.COMPLETE, end=seconds)])
    history.extend([trial(0, TrialState.COMPLETE, end=seconds), trial(1, TrialState.COMPLETE, end=-1)])
    assert [t.number for t in history.finished] == [1, 0]
