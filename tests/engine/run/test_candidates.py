"""Enqueued trials are served first and exactly once, whoever enqueues them and when, on every storage."""

import threading
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from objectives import score
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from support import SPACE as WHOLE_SPACE
from support import SchemaModel, Script, sampler

from optuna_llm import Proposal, ProposalError, optimize_async
from optuna_llm.engine.records import Signature
from optuna_llm.engine.study.door import StudyDoor

BY = Signature(run="r")
SPACE = {"x": FloatDistribution(0, 1)}
QUEUED = 24


def test_enqueued_while_the_run_goes_on_each_is_evaluated_once(storage: BaseStorage) -> None:
    model = SchemaModel()
    study = optuna.create_study(storage=storage, sampler=sampler(model))
    seen: list[float] = []
    queued = [round((n + 1) / 100, 2) for n in range(QUEUED)]

    def enqueue() -> None:
        for value in queued:
            study.enqueue_trial({"x": value})

    other = threading.Thread(target=enqueue)

    async def objective(trial: Any) -> float:
        if trial.number == 0:
            other.start()
        seen.append(trial.params["x"])
        await anyio.lowlevel.checkpoint()
        return 1.0

    async def run() -> None:
        while not set(queued) <= set(seen):
            await optimize_async(study, objective, n_trials=10, n_workers=4, search_space=SPACE)

    anyio.run(run)
    other.join()
    assert sorted(x for x in seen if x in queued) == queued
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}
    enqueued = [trial for trial in study.trials if trial.params["x"] in queued]
    assert len(enqueued) == QUEUED
    assert all("llm" not in trial.user_attrs for trial in enqueued)


def test_several_claimants_of_one_process_never_claim_twice(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler())
    for n in range(QUEUED):
        study.enqueue_trial({"x": n / 100})
    taken: list[int] = []

    def take_all() -> None:
        door = StudyDoor(study)
        while waiting := door.refresh().waiting:
            if (trial := door.take(waiting[0], Proposal(params={}, distributions={}), {}, BY)) is not None:
                taken.append(trial.number)

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(QUEUED))


def test_a_proposal_that_fails_leaves_the_enqueued_trial_waiting() -> None:
    study = optuna.create_study(sampler=sampler(Script("nonsense"), search_space={**SPACE, "y": SPACE["x"]}))
    study.enqueue_trial({"x": 0.25})
    with pytest.raises(ProposalError):
        anyio.run(lambda: optimize_async(study, lambda t: t.params["x"], n_trials=1))
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]


def test_a_study_that_is_only_a_queue_needs_no_model() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    for n in range(5):
        study.enqueue_trial({"x": n / 10})
    anyio.run(lambda: optimize_async(study, lambda t: t.params["x"], n_trials=5, n_workers=2, search_space=SPACE))
    assert sorted(trial.params["x"] for trial in study.trials) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert model.requests == []


@pytest.mark.asyncio
async def test_enqueued_trials_come_first_without_a_call() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    full = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "sgd"}
    study.enqueue_trial(full)
    await optimize_async(study, score, n_trials=3, search_space=WHOLE_SPACE)
    assert study.trials[0].params == full
    assert len(model.requests) == 2
    assert "llm" not in study.trials[0].user_attrs


@pytest.mark.asyncio
async def test_what_an_enqueued_trial_leaves_open_is_proposed_given_the_rest() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.enqueue_trial({"lr": 0.0125})
    await optimize_async(study, score, n_trials=1, search_space=WHOLE_SPACE)
    (request,) = model.requests
    assert set(request.schema["properties"]) == {"rationale", "momentum", "layers", "optimizer"}
    assert "0.0125" in model.prompts[0]
    assert study.trials[0].params["lr"] == 0.0125
    assert set(study.trials[0].params) == set(WHOLE_SPACE)
