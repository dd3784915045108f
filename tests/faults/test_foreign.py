"""Other people's trials, and what users write on ours: none of it ends a run."""

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, Budget, optimize_async
from optuna_llm.engine.fleet.dead_trials import add_late
from optuna_llm.engine.fleet.total_trials import Places
from optuna_llm.engine.outcome import completed, failed
from optuna_llm.engine.records import Charge, Proposal, Share, Signature
from optuna_llm.engine.study.attributes import charge_of, llm_of, run_of
from optuna_llm.engine.study.door import StudyDoor

BY = Signature(run="r")
PARAMS = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}
WRONG: dict[str, Any] = {
    "schema_version": "1",
    "calls": "many",
    "reasks": [2],
    "repairs": 3,
    "latency": None,
    "rationale": 7,
    "run": ["r"],
    "worker": "first",
    "usage": {"prompt_tokens": "12", "completion_tokens": None, "cost": "free"},
}
ATTRIBUTES = ["gpt-4", 4, ["gpt-4"], None, {"mine": 1}, WRONG, {**WRONG, "usage": "none"}]

foreign = pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda value: str(value)[:12])


@foreign
@pytest.mark.parametrize("strategy", ["plain", "adaptive"])
def test_trials_of_others_may_have_any_attribute_of_our_name(attribute: Any, strategy: str, tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    chosen = sampler(SchemaModel(), strategy=strategy, budget=Budget(requests=100, tokens=10**6))
    study = optuna.create_study(storage=storage, sampler=chosen)
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING):
        study.add_trial(
            create_trial(
                state=state,
                params=PARAMS,
                distributions=SPACE,
                value=1.0 if state is TrialState.COMPLETE else None,
                user_attrs={"llm": attribute},
            )
        )
    study.enqueue_trial({"lr": 0.02}, user_attrs={"llm": attribute})

    async def objective(trial: AsyncTrial) -> float:
        await anyio.lowlevel.checkpoint()
        return float(trial.params["lr"])

    report = anyio.run(lambda: optimize_async(study, objective, total_trials=8, n_workers=2, search_space=SPACE))
    assert report.n_complete == 6
    study.optimize(lambda trial: sum(trial.suggest_float(name, 0, 1) for name in ("new", "newer")), n_trials=1)


@foreign
def test_an_objective_may_write_an_attribute_of_our_name(attribute: Any) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(), budget=Budget(requests=100)))

    async def objective(trial: AsyncTrial) -> float:
        await trial.set_user_attr("llm", attribute)
        await anyio.lowlevel.checkpoint()
        if trial.number % 3 == 0:
            raise ValueError
        return float(trial.params["lr"])

    report = anyio.run(
        lambda: optimize_async(
            study, objective, n_trials=9, n_workers=2, search_space=SPACE, retries=1, catch=ValueError
        )
    )
    assert report.n_complete + report.n_failed == 9
    assert study.trials[0].user_attrs["llm"] == attribute


@foreign
def test_a_parameter_that_is_met_after_the_attribute_was_written_is_proposed(attribute: Any) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))

    def objective(trial: optuna.Trial) -> float:
        a = trial.suggest_float("a", 0, 1)
        trial.set_user_attr("llm", attribute)
        return a + trial.suggest_float("new", 0, 1)

    study.optimize(objective, n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


@foreign
def test_such_a_trial_is_told_tried_anew_and_added_late(attribute: Any) -> None:
    study = optuna.create_study()
    door = StudyDoor(study)
    door.sharing.update(Share(place=0, processes=2))
    proposal = Proposal(params=PARAMS, distributions=SPACE, provenance={"duplicate_of": None})
    trials = [door.create(proposal, params_in_one_write=True, by=BY) for _ in range(3)]
    for trial in trials:
        trial.set_user_attr("llm", attribute)
        door.in_flight.add_repair(trial.number, "lr 2.0 clamped to 0.1")
        told = door.tell(trial, failed(ValueError("no")))
        assert door.retry(told, retries=1)
    assert add_late(door, told, completed(1.0), "r", Places()).state is TrialState.COMPLETE


@foreign
def test_an_attribute_that_is_no_record_says_nothing(attribute: Any) -> None:
    trial = create_trial(state=TrialState.RUNNING, user_attrs={"llm": attribute})
    assert run_of(trial) is None
    assert llm_of(trial) == (attribute if isinstance(attribute, dict) else {})
    assert charge_of(llm_of(trial)) == Charge()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1, True, 10**400, "1", None, [1]])
def test_what_is_no_amount_counts_as_nothing(wrong: Any) -> None:
    usage = {"prompt_tokens": wrong, "completion_tokens": 2, "cost": wrong}
    assert charge_of({"calls": wrong, "usage": usage}) == Charge(tokens=2)
    assert charge_of({"calls": 1, "usage": {"cost": 0.5}}) == Charge(requests=1, usd=0.5)


SPENDING = {"requests": 1, "tokens": 5, "usd": 0.1}
LEASE = {"host": "h", "pid": 1, "started": "1", "at": 1.0, "model": None, "taking": []}
OF_STUDIES: list[tuple[str, Any, int]] = [  # name, value, and the requests of five that are left
    ("llm_spending:a", {**SPENDING, "newer": {"deep": 3}}, 4),
    ("llm_spending:a", "none", 5),
    ("llm_spending:a", {"requests": -1000, "tokens": -1, "usd": float("-inf")}, 5),
    ("llm_spending:", [SPENDING], 5),
    ("llm_run:a", {**LEASE, "host": None}, 5),
    ("llm_run:a", {**LEASE, "pid": {"no": 1}}, 5),
    ("llm_run:", 7, 5),
    ("llm_newer:a", {"what": "ever"}, 5),
]


@pytest.mark.parametrize(("name", "value", "left"), OF_STUDIES, ids=str)
def test_attributes_of_the_study_may_be_anything(name: str, value: Any, left: int, tmp_path: Path) -> None:
    model = SchemaModel()
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.create_study(storage=storage, sampler=sampler(model, budget=Budget(requests=5)))
    study.set_user_attr(name, value)
    report = anyio.run(lambda: optimize_async(study, lambda trial: 1.0, n_trials=9, search_space=SPACE))
    assert report.stop_reason == "budget"
    assert len(model.requests) == left


@pytest.mark.parametrize("name", ["retry_history", "failed_trial", "fixed_params", "optuna_llm:run"])
@pytest.mark.parametrize("value", [5, "text", None, [None, "x"], {"a": 1}])
def test_system_attributes_of_trials_may_be_anything(name: str, value: Any) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    for state in (TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE):
        ended = 1.0 if state is TrialState.COMPLETE else None
        made = create_trial(state=state, value=ended, params=PARAMS, distributions=SPACE, system_attrs={name: value})
        study.add_trial(made)

    def objective(trial: optuna.Trial) -> float:
        if trial.number % 2:
            raise ValueError
        return 1.0

    report = anyio.run(
        lambda: optimize_async(study, objective, n_trials=6, search_space=SPACE, retries=1, catch=ValueError)
    )
    assert report.stop_reason == "n_trials"
    door = StudyDoor(study)
    assert door.retry(study.trials[0], retries=9)
