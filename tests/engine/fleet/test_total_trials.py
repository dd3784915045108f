"""Places within `total_trials` are set aside for candidates, and given back once."""

from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from optuna_llm.engine.fleet.total_trials import Places
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.engine.study.snapshot import Snapshot


def snapshot(*states: TrialState) -> Snapshot:
    study = optuna.create_study()
    for state in states:
        study.add_trial(create_trial(state=state, value=1.0 if state is TrialState.COMPLETE else None))
    return StudyDoor(study).refresh()


def test_no_more_places_are_set_aside_than_the_total_leaves() -> None:
    places, study = Places(3), snapshot(TrialState.COMPLETE, TrialState.FAIL)
    assert [places.take(study) is None for _ in range(3)] == [False, False, True]
    assert places.set_aside == 2


def test_a_place_that_is_given_back_twice_is_free_once() -> None:
    places, study = Places(2), snapshot()
    first, second = places.take(study), places.take(study)
    for _ in range(2):
        places.release(first)
    places.release(None)
    assert places.set_aside == 1
    assert places.take(study) is not None
    assert places.take(study) is None
    places.release(second)


def test_without_a_total_there_is_always_a_place() -> None:
    places, study = Places(), snapshot(*[TrialState.COMPLETE] * 9)
    assert all(places.take(study) is not None for _ in range(9))
    assert not places.is_full(study)
    assert not places.is_reached(study)
    assert places.has_place(10**6, study)


def test_a_total_is_full_before_it_is_reached() -> None:
    running = snapshot(TrialState.COMPLETE, TrialState.RUNNING)
    places = Places(2)
    assert places.is_full(running)
    assert not places.is_reached(running)
    assert places.is_reached(snapshot(TrialState.COMPLETE, TrialState.PRUNED))


def test_an_enqueued_trial_has_its_place_already() -> None:
    waiting = snapshot(TrialState.COMPLETE, TrialState.WAITING, TrialState.WAITING)
    places = Places(2)
    assert [trial.number for trial in places.takeable(waiting)] == [1]
    assert not places.is_full(waiting)
    assert places.take(waiting) is None


def test_a_trial_of_another_process_is_counted_although_a_reading_of_ours_saw_one_after_it_and_missed_it(
    tmp_path: Path,
) -> None:
    """Optuna reads its cache a moment after it has read the database: what this process creates in between is there."""
    ours, theirs = (RDBStorage(f"sqlite:///{tmp_path / 'study.db'}") for _ in range(2))
    study = optuna.create_study(study_name="s", storage=ours)
    other = optuna.load_study(study_name="s", storage=theirs)
    door, storage = StudyDoor(study), study._storage
    read = storage._read_trials_from_remote_storage  # type: ignore[attr-defined]

    def read_and_create(study_id: int) -> None:
        read(study_id)
        storage._read_trials_from_remote_storage = read  # type: ignore[attr-defined]
        other.ask()
        door.add_running(by=None)

    storage._read_trials_from_remote_storage = read_and_create  # type: ignore[attr-defined]
    door.refresh()
    assert [trial.number for trial in door.refresh().running] == [0, 1]
    last = study.ask()
    assert not Places(2).has_place(last.number, door.refresh())
    for one in (ours, theirs):
        one.engine.dispose()
