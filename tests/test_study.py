"""The door to storage: what it writes equals what Optuna writes, on every storage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optuna_llm.engine.outcome import completed, failed, pruned
from optuna_llm.engine.records import Proposal
from optuna_llm.engine.study import StudyDoor, clear_stop, stop_requested, stoppable

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 1.0, step=0.1),
    "layers": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(("adam", None, 3, True, 0.5)),
}
PARAMS = {"lr": 0.003, "momentum": 0.3, "layers": 5, "optimizer": None}


@pytest.fixture(params=["memory", "journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    match request.param:
        case "memory":
            yield InMemoryStorage()
        case "journal":
            yield JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        case "sqlite":
            rdb = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
            yield rdb
            rdb.engine.dispose()


class Scripted(optuna.samplers.BaseSampler):
    """Gives the values of PARAMS, as a sampler would."""

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return SPACE

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return PARAMS

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        raise AssertionError(param_name)


@pytest.fixture
def study(storage: BaseStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, sampler=Scripted())


def proposal(**changes: Any) -> Proposal:
    return Proposal(params=PARAMS, distributions=SPACE, **changes)


def facts(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "state": trial.state,
        "params": trial.params,
        "types": {name: type(value) for name, value in trial.params.items()},
        "distributions": trial.distributions,
        "order": list(trial.params),
        "system_attrs": trial.system_attrs,
        "intermediate": trial.intermediate_values,
        "values": trial.values,
        "started": trial.datetime_start is not None,
        "ended": trial.datetime_complete is not None,
    }


def test_a_trial_created_in_one_write_equals_one_that_was_asked_for(study: optuna.Study) -> None:
    asked = study.ask(SPACE)
    created = StudyDoor(study).create(proposal(), written=True, run="r")
    one, other = study.trials
    assert facts(one) == facts(other)
    assert created.params == asked.params == PARAMS
    assert created.number == 1


def test_a_created_trial_is_told_like_any_other(study: optuna.Study) -> None:
    created = StudyDoor(study).create(proposal(), written=True, run="r")
    study.tell(created, 0.5)
    assert study.best_trial.number == 0
    assert study.best_params == PARAMS


def test_creating_a_trial_is_one_write(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    for name in dir(study._storage):
        if name.startswith(("set_", "create_", "delete_")):
            real = getattr(study._storage, name)

            def spy(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
                writes.append(_name)
                return _real(*args, **kwargs)

            monkeypatch.setattr(study._storage, name, spy)
    StudyDoor(study).create(proposal(provenance={"model": "m"}), written=True, run="r")
    assert writes == ["create_new_trial"]


def test_provenance_is_part_of_the_write(study: optuna.Study) -> None:
    study.add_trial(optuna.create_trial(value=1.0))
    door = StudyDoor(study)
    door.refresh()
    door.create(proposal(provenance={"model": "m"}, seen=0), written=True, run="r7")
    assert study.trials[1].user_attrs == {"llm": {"model": "m", "staleness": 1, "run": "r7"}}


def test_values_may_be_written_as_they_are_suggested(study: optuna.Study) -> None:
    door = StudyDoor(study)
    trial = door.create(proposal(), written=False, run="r")
    assert study.trials[0].params == {}
    assert trial.suggest_float("lr", 1e-5, 1e-1, log=True) == PARAMS["lr"]
    assert study.trials[0].params == {"lr": PARAMS["lr"]}
    assert door.snapshot().assigned[0].params == PARAMS


def test_a_reservation_is_seen_until_its_trial_is(study: optuna.Study) -> None:
    door = StudyDoor(study)
    made = proposal()
    door.reserve(made)
    assert door.snapshot().reserved == (made,)
    door.create(made, written=True, run="r")
    now = door.snapshot()
    assert now.reserved == ()
    assert [trial.params for trial in now.running] == [PARAMS]


def test_an_assignment_ends_when_the_trial_is_told(study: optuna.Study) -> None:
    door = StudyDoor(study)
    made = proposal()
    trial = door.create(made, written=False, run="r")
    assert door.holds(made)
    door.tell(trial, completed(1.0))
    assert not door.holds(made)


def test_failures_are_told_with_their_reason(study: optuna.Study) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), written=True, run="r"), failed(MemoryError("out of memory")))
    assert told.state is TrialState.FAIL
    stored = study.trials[0].user_attrs["failure"]
    assert stored["type"] == "MemoryError"
    assert stored["message"] == "out of memory"
    assert "MemoryError: out of memory" in stored["traceback"]


def test_a_pruned_trial_keeps_its_last_value(study: optuna.Study) -> None:
    door = StudyDoor(study)
    trial = door.create(proposal(), written=True, run="r")
    trial.report(0.25, 3)
    told = door.tell(trial, pruned())
    assert told.state is TrialState.PRUNED
    assert told.value == 0.25


@pytest.mark.parametrize("value", ["text", None, float("nan"), [1.0, 2.0]])
def test_what_is_no_number_fails_the_trial_and_says_so(study: optuna.Study, value: Any) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), written=True, run="r"), completed(value))
    assert told.state is TrialState.FAIL
    assert "the objective returned" in told.user_attrs["failure"]["message"]


def test_an_infinite_value_completes_as_in_optuna(study: optuna.Study) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), written=True, run="r"), completed(float("inf")))
    assert told.state is TrialState.COMPLETE


def test_waiting_trials_are_popped_once(study: optuna.Study) -> None:
    study.enqueue_trial({"lr": 0.01})
    door = StudyDoor(study)
    assert door.refresh().waiting == 1
    popped = door.pop_waiting()
    assert popped is not None
    assert door.fixed_params(popped) == {"lr": 0.01}
    assert door.pop_waiting() is None
    assert door.snapshot().waiting == 0


def test_a_sampler_that_raises_leaves_no_running_trial(study: optuna.Study) -> None:
    door = StudyDoor(study)
    with pytest.raises(AssertionError, match="unheard"):
        door.ask({"unheard": FloatDistribution(0, 1)})
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_stopping_is_allowed_only_inside_and_blocks_may_overlap(study: optuna.Study) -> None:
    clear_stop(study)
    first, second = stoppable(study), stoppable(study)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    study.stop()
    second.__exit__(None, None, None)
    assert stop_requested(study)
    with pytest.raises(RuntimeError, match="stop"):
        study.stop()
