"""The door to storage: what it writes equals what Optuna writes, on every storage."""

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_llm.engine.errors import SetUpError
from optuna_llm.engine.outcome import completed, failed, pruned
from optuna_llm.engine.records import ALONE, Proposal, Share, Signature
from optuna_llm.engine.study.attributes import RUN_ATTRIBUTE, fixed_params, proposal_attributes
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.engine.study.lanes import stoppable
from optuna_llm.engine.study.optuna_internals import clear_stop, stop_requested

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 1.0, step=0.1),
    "layers": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(("adam", None, 3, True, 0.5)),
}
BY = Signature(run="r")
PARAMS = {"lr": 0.003, "momentum": 0.3, "layers": 5, "optimizer": None}


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
    created = StudyDoor(study).create(proposal(), params_in_one_write=True, by=BY)
    one, other = study.trials
    assert other.system_attrs == {RUN_ATTRIBUTE: "r"}  # in the same write, so that no kill leaves it anonymous
    assert facts(one) == {**facts(other), "system_attrs": {}}
    assert created.params == asked.params == PARAMS
    assert created.number == 1


def test_a_created_trial_is_told_like_any_other(study: optuna.Study) -> None:
    created = StudyDoor(study).create(proposal(), params_in_one_write=True, by=BY)
    study.tell(created, 0.5)
    assert study.best_trial.number == 0
    assert study.best_params == PARAMS


def test_a_created_trial_shares_nothing_that_changes(study: optuna.Study) -> None:
    params, record = dict(PARAMS), {"model": "m"}
    door = StudyDoor(study)
    door.create(Proposal(params=params, distributions=SPACE, provenance=record), params_in_one_write=True, by=BY)
    params.clear()
    record.clear()
    (stored,) = study.trials
    assert type(stored) is FrozenTrial
    assert stored.params == PARAMS
    assert stored.user_attrs["llm"]["model"] == "m"


def test_creating_a_trial_is_one_write(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    for name in dir(study._storage):
        if name.startswith(("set_", "create_", "delete_")):
            real = getattr(study._storage, name)

            def spy(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
                writes.append(_name)
                return _real(*args, **kwargs)

            monkeypatch.setattr(study._storage, name, spy)
    StudyDoor(study).create(proposal(provenance={"model": "m"}), params_in_one_write=True, by=BY)
    assert writes == ["create_new_trial"]


def test_provenance_is_part_of_the_write(study: optuna.Study) -> None:
    study.add_trial(optuna.create_trial(value=1.0))
    door = StudyDoor(study)
    door.refresh()
    door.create(proposal(provenance={"model": "m"}, seen=0), params_in_one_write=True, by=Signature(run="r7"))
    assert study.trials[1].user_attrs == {"llm": {"model": "m", "staleness": 1, "run": "r7"}}


def test_flat_attributes_stand_beside_the_record_in_the_same_write(study: optuna.Study) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 10, "cost": 0.25}
    record = {"role": "refine", "rationale": "r" * 300, "usage": usage, "latency": 1.5}
    StudyDoor(study).create(proposal(provenance=record), params_in_one_write=True, by=BY)
    flat = {name: value for name, value in study.trials[0].user_attrs.items() if name != "llm"}
    told = {"llm:role": "refine", "llm:rationale": "r" * 200, "llm:cost": 0.25, "llm:tokens": 100, "llm:latency": 1.5}
    assert flat == told


def test_what_is_unknown_has_no_flat_attribute() -> None:
    odd = {"role": None, "rationale": 7, "usage": {"cost": "much", "prompt_tokens": -3}, "latency": float("nan")}
    assert proposal_attributes(odd) == {"llm": odd, "llm:tokens": 0}
    assert proposal_attributes({"usage": None}) == {"llm": {"usage": None}}


def test_values_may_be_written_as_they_are_suggested(study: optuna.Study) -> None:
    door = StudyDoor(study)
    trial = door.create(proposal(), params_in_one_write=False, by=BY)
    assert study.trials[0].params == {}
    assert trial.suggest_float("lr", 1e-5, 1e-1, log=True) == PARAMS["lr"]
    assert study.trials[0].params == {"lr": PARAMS["lr"]}
    assert door.snapshot().assigned[0].params == PARAMS


def test_a_reservation_is_seen_until_its_trial_is(study: optuna.Study) -> None:
    door = StudyDoor(study)
    made = proposal()
    door.in_flight.reserve(made)
    assert door.snapshot().reserved == (made,)
    door.create(made, params_in_one_write=True, by=BY)
    now = door.snapshot()
    assert now.reserved == ()
    assert [trial.params for trial in now.running] == [PARAMS]


def test_an_assignment_ends_when_the_trial_is_told(study: optuna.Study) -> None:
    door = StudyDoor(study)
    made = proposal()
    trial = door.create(made, params_in_one_write=False, by=BY)
    assert door.in_flight.is_open(made)
    door.tell(trial, completed(1.0))
    assert not door.in_flight.is_open(made)


def test_failures_are_told_with_their_reason(study: optuna.Study) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), params_in_one_write=True, by=BY), failed(MemoryError("out of memory")))
    assert told.state is TrialState.FAIL
    stored = study.trials[0].user_attrs["failure"]
    assert stored["type"] == "MemoryError"
    assert stored["message"] == "out of memory"
    assert "MemoryError: out of memory" in stored["traceback"]


def test_a_pruned_trial_keeps_its_last_value(study: optuna.Study) -> None:
    door = StudyDoor(study)
    trial = door.create(proposal(), params_in_one_write=True, by=BY)
    trial.report(0.25, 3)
    told = door.tell(trial, pruned())
    assert told.state is TrialState.PRUNED
    assert told.value == 0.25


@pytest.mark.parametrize("value", ["text", None, float("nan"), [1.0, 2.0]])
def test_what_is_no_number_fails_the_trial_and_says_so(study: optuna.Study, value: Any) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), params_in_one_write=True, by=BY), completed(value))
    assert told.state is TrialState.FAIL
    assert "the objective returned" in told.user_attrs["failure"]["message"]


def test_an_infinite_value_completes_as_in_optuna(study: optuna.Study) -> None:
    door = StudyDoor(study)
    told = door.tell(door.create(proposal(), params_in_one_write=True, by=BY), completed(float("inf")))
    assert told.state is TrialState.COMPLETE


NOTHING = Proposal(params={}, distributions={})


def test_an_enqueued_trial_is_taken_once_with_what_it_leaves_open(study: optuna.Study) -> None:
    study.enqueue_trial({"lr": 0.01})
    door = StudyDoor(study)
    (waiting,) = door.refresh().waiting
    assert fixed_params(waiting) == {"lr": 0.01}
    rest = {name: value for name, value in PARAMS.items() if name != "lr"}
    open_space = {name: SPACE[name] for name in rest}
    taken = door.take(waiting, Proposal(params=rest, distributions=open_space), SPACE, BY)
    assert taken is not None
    assert taken.params == {**PARAMS, "lr": 0.01}
    assert door.take(waiting, NOTHING, {}, BY) is None
    assert door.snapshot().waiting == ()


def test_a_claim_is_shared_by_all_doors_with_one_state_and_can_be_given_back(study: optuna.Study) -> None:
    study.enqueue_trial({"lr": 0.01})
    door = StudyDoor(study)
    door.refresh()
    claimed = door.in_flight.claim(door.snapshot().waiting)
    assert claimed is not None
    assert StudyDoor(study, door.state).in_flight.claim(door.snapshot().waiting) is None
    door.in_flight.unclaim(claimed.number)
    assert door.in_flight.claim(door.snapshot().waiting) is claimed


@pytest.mark.parametrize("broken", ["create_new_trial", "get_all_trials", "get_trial"])
def test_a_storage_that_fails_in_the_middle_leaves_nothing_running_or_reserved(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    door = StudyDoor(study)
    made = proposal()
    door.in_flight.reserve(made)
    real = getattr(study._storage, broken)
    failures = [OSError("locked")]

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(study._storage, broken, fail_once)
    if broken == "get_all_trials":  # the trial stands; only the look at it was late
        assert door.create(made, params_in_one_write=True, by=BY).params == PARAMS
    else:
        with pytest.raises((OSError, SetUpError), match="locked"):
            door.create(made, params_in_one_write=True, by=BY)
        assert TrialState.RUNNING not in {trial.state for trial in study.trials}
    if broken == "create_new_trial":  # nothing was made of it: it is there for another attempt
        assert door.snapshot().reserved == (made,)
        door.create(made, params_in_one_write=True, by=BY)
    assert door.snapshot().reserved == ()


def test_repairs_made_while_a_trial_ran_are_written_when_it_is_told(study: optuna.Study) -> None:
    door = StudyDoor(study)
    trial = door.create(proposal(provenance={"model": "m", "repairs": ["a"]}), params_in_one_write=True, by=BY)
    door.in_flight.add_repair(trial.number, "b")
    door.tell(trial, completed(1.0))
    assert study.trials[0].user_attrs["llm"]["repairs"] == ["a", "b"]


def told_twice(study: optuna.Study, processes: int, order: tuple[int, int] = (0, 1), **more: Any) -> list[Any]:
    """What two trials of one configuration, made at the same moment and told in this order, say that they repeat."""
    door = StudyDoor(study)
    door.sharing.update(Share(place=0, processes=processes))
    provenance = {"role": "refine", "duplicate_of": None, **more}
    trials = [door.create(proposal(provenance=provenance), params_in_one_write=True, by=BY) for _ in range(2)]
    for number in order:
        door.sharing.update(ALONE)  # the other process takes its leave
        door.tell(trials[number], completed(1.0))
    return [trial.user_attrs["llm"]["duplicate_of"] for trial in study.trials]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_two_processes_proposed_at_the_same_moment_is_on_record(
    study: optuna.Study, order: tuple[int, int]
) -> None:
    assert told_twice(study, 2, order) == [None, 0]


def test_a_repetition_that_is_told_before_the_first_one_has_its_values_is_on_record(study: optuna.Study) -> None:
    door = StudyDoor(study)
    door.sharing.update(Share(place=0, processes=2))
    slow, fast = (
        door.create(proposal(provenance={"duplicate_of": None}), params_in_one_write=written, by=BY)
        for written in (False, True)
    )
    door.tell(fast, completed(1.0))
    for name, distribution in SPACE.items():
        slow._suggest(name, distribution)
    door.tell(slow, completed(1.0))
    assert [trial.user_attrs["llm"]["duplicate_of"] for trial in study.trials] == [1, None]


def test_alone_a_study_is_not_read_again_for_that(study: optuna.Study) -> None:
    assert told_twice(study, 1) == [None, None]


def test_a_record_of_a_repetition_stays_as_it_is(study: optuna.Study) -> None:
    assert told_twice(study, 2, duplicate_of="in flight") == ["in flight"] * 2


def test_a_retry_repeats_on_purpose(study: optuna.Study) -> None:
    door = StudyDoor(study)
    door.sharing.update(Share(place=0, processes=2))
    first = door.create(proposal(provenance={"duplicate_of": None}), params_in_one_write=True, by=BY)
    assert door.retry(door.tell(first, failed(ValueError("no"))), retries=1)
    (waiting,) = door.refresh().waiting
    again = door.take(waiting, Proposal(params={}, distributions={}), SPACE, BY)
    assert again is not None
    assert door.tell(again, completed(1.0)).user_attrs["llm"]["duplicate_of"] is None


def test_a_sampler_that_raises_leaves_no_running_trial(study: optuna.Study) -> None:
    door = StudyDoor(study)
    with pytest.raises(AssertionError, match="unheard"):
        door.ask(door.begin(BY), {"unheard": FloatDistribution(0, 1)})
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
