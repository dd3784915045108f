"""The view of a study is brought up to date by slices, whatever order its results come in."""

import asyncio
import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import sampler, study_view

from optuna_llm import Request
from optuna_llm.engine.outcome import Outcome
from optuna_llm.engine.records import Share
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.engine.study.history import History
from optuna_llm.engine.study.snapshot import Snapshot
from optuna_llm.samplers.space.axes import Axes
from optuna_llm.samplers.space.space import make_space
from optuna_llm.samplers.view.duplicates import DuplicateIndex
from optuna_llm.samplers.view.evidence import Evidence
from optuna_llm.samplers.view.rows import FinishedRows
from optuna_llm.samplers.view.view import SLICE, View

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
START = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 (Optuna's times are naive)
CACHES = (FinishedRows, DuplicateIndex, Evidence)


class Study:
    """A view of trials that finish one by one."""

    def __init__(self) -> None:
        self.history = History()
        self.view = study_view(SPACE)

    def finish(self, number: int, end: float) -> None:
        trial = create_trial(value=1.0, params={"x": number / 1000}, distributions=SPACE)
        trial.number = number
        trial.datetime_complete = START + datetime.timedelta(seconds=end)
        self.history.extend_one(trial)

    def latest(self) -> Snapshot:
        return Snapshot(finished=self.history.finished)

    def catch_up(self) -> View:
        return asyncio.run(self.view.catch_up(self.latest, 10))

    @property
    def known(self) -> list[int]:
        return [cache.known_prefix(self.history.finished) for cache in self.view.caches]


@contextmanager
def looks() -> Iterator[list[tuple[str, int]]]:
    """How many trials each cache had to look at, time by time."""
    found: list[tuple[str, int]] = []
    with pytest.MonkeyPatch.context() as patched:
        for kind in CACHES:
            update = kind.update

            def counted(
                self: Any, finished: Sequence[FrozenTrial], until: int | None = None, update: Any = update
            ) -> None:
                end = len(finished) if until is None else until
                found.append((type(self).__name__, end - min(end, self.known_prefix(finished))))
                update(self, finished, until)

            patched.setattr(kind, "update", counted)
        yield found


def test_a_long_history_is_taken_in_by_slices() -> None:
    study = Study()
    for number in range(160):
        study.finish(number, number)
    with looks() as found:
        study.catch_up()
    assert study.known == [160] * 3
    assert max(count for _, count in found) == SLICE


def test_a_view_that_starts_anew_is_taken_in_by_slices() -> None:
    study = Study()
    for number in range(210):
        study.finish(number, number)
    study.catch_up()
    study.finish(210, 0.5)
    assert study.known == [0] * 3
    with looks() as found:
        study.catch_up()
    assert study.known == [211] * 3
    assert max(count for _, count in found) == SLICE
    assert sum(count for kind, count in found if kind == "Evidence") == 211


def test_a_view_at_once_is_the_same_as_one_that_was_caught_up() -> None:
    study = Study()
    for number in range(90):
        study.finish(number, number)
    one, other = study.catch_up(), study_view(SPACE).at(study.latest())
    assert one.finished.rows(0) == other.finished.rows(0)
    assert one.evidence.best(99) == other.evidence.best(99)
    assert one.find_duplicate({"x": 0.05}, conditional=False) == other.find_duplicate({"x": 0.05}, conditional=False)


def test_with_two_processes_a_result_costs_a_look_at_those_that_it_overtook() -> None:
    storage = optuna.storages.InMemoryStorage()
    mine = optuna.create_study(storage=storage, study_name="shared")
    other = optuna.load_study(storage=storage, study_name="shared")
    door, elsewhere = StudyDoor(mine), StudyDoor(other)
    evidence = Evidence(Axes(make_space(SPACE)), StudyDirection.MINIMIZE)
    with looks() as found:
        for _ in range(20):
            one, two = mine.ask(SPACE), other.ask(SPACE)
            elsewhere.tell(two, Outcome(state=TrialState.COMPLETE, value=1.0))
            door.tell(one, Outcome(state=TrialState.COMPLETE, value=1.0))
            evidence.update(door.snapshot().finished)
            evidence.update(door.refresh().finished)
    assert evidence.known == 40
    assert sum(count for _, count in found) == 20 * 3


def test_what_finished_while_the_model_was_thinking_is_taken_in_by_slices() -> None:
    study = optuna.create_study()
    asked: list[Request] = []

    def model(request: Request) -> dict[str, float]:
        asked.append(request)
        if len(asked) == 1:
            study.add_trials([create_trial(value=1.0, params={"x": n / 100}, distributions=SPACE) for n in range(90)])
        return {"x": 0.5 if len(asked) == 1 else 0.123}

    study.sampler = sampler(model, search_space=SPACE)
    study.sampler.door(study).sharing.update(Share(place=0, processes=2))
    with looks() as found:
        (proposal,) = anyio.run(study.sampler.propose, study)
    assert proposal.params == {"x": 0.123}
    assert max(count for _, count in found) == SLICE
