"""Spending is kept in the study: a cap holds over trials, failures, restarts and samplers."""

import threading
from dataclasses import replace
from typing import Any

import anyio
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from support import SPACE, SchemaModel, Script, llm_sampler, optimize_with, sampler

from optuna_llm import (
    Budget,
    BudgetExhaustedError,
    FunctionClient,
    LLMGuidedSampler,
    OptunaLLMError,
    ProposalError,
    RecordingClient,
    ReplayClient,
    Reply,
    Request,
    RunReport,
    TransientError,
    ask_async,
    optimize_async,
)
from optuna_llm.engine.records import Charge, Proposal, Share
from optuna_llm.engine.study.attributes import charge_of, llm_of, untracked_charges
from optuna_llm.samplers.client.protocol import Prices

PER_CALL = 110  # tokens of one reply of SchemaModel


def objective(trial: optuna.Trial) -> float:
    return float(trial.params["momentum"])


def run(study: optuna.Study, n_trials: int, **options: Any) -> Any:
    return anyio.run(lambda: optimize_async(study, objective, n_trials=n_trials, search_space=SPACE, **options))


@pytest.mark.parametrize("n_workers", [1, 8])
def test_a_budget_of_requests_ends_the_run_well_and_is_not_exceeded(n_workers: int) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, budget=Budget(requests=20)))
    report = run(study, 100, n_workers=n_workers)
    assert report.stop_reason == "budget"
    assert report.n_complete == len(study.trials)
    assert len(model.requests) == 20


def test_a_restart_goes_on_with_what_is_left(tmp_path: Any) -> None:
    path = str(tmp_path / "journal.log")
    sent = 0
    for _ in range(3):
        model = SchemaModel(sent)
        study = optuna.create_study(
            study_name="s",
            storage=JournalStorage(JournalFileBackend(path)),
            sampler=sampler(model, budget=Budget(requests=12)),
            load_if_exists=True,
        )
        run(study, 5, n_workers=2)
        sent += len(model.requests)
    assert sent == 12


def test_calls_that_made_no_trial_are_kept_too() -> None:
    storage = InMemoryStorage()
    script = Script("nonsense")
    study = optuna.create_study(study_name="s", storage=storage, sampler=sampler(script, max_reasks=1))
    with pytest.raises(ProposalError):
        run(study, 5, max_failed_proposals=2)
    assert len(script.requests) == 4
    again = optuna.load_study(
        study_name="s", storage=storage, sampler=sampler(SchemaModel(), budget=Budget(requests=6))
    )
    assert run(again, 5).n_complete == 2


def test_retried_requests_are_kept_too() -> None:
    script = Script(TransientError("down", retry_after=0.0), SchemaModel())
    study = optuna.create_study(sampler=sampler(script))
    run(study, 1)
    (charge,) = [value for name, value in study.user_attrs.items() if name.startswith("llm_spending:")]
    assert charge["requests"] == 1
    assert study.trials[0].user_attrs["llm"]["calls"] == 1


def test_a_run_without_failures_writes_nothing_but_its_trials_and_its_end() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    run(study, 8, n_workers=4)
    (name,) = study.user_attrs
    assert name.startswith("llm_run:")


def test_proposals_that_a_stop_leaves_over_stay_spent() -> None:
    storage = InMemoryStorage()
    model = SchemaModel()
    study = optuna.create_study(study_name="s", storage=storage, sampler=sampler(model))

    def stop(study: optuna.Study, _: Any) -> None:
        study.stop()

    report = run(study, 100, n_workers=1, prefetch=3, callbacks=[stop])
    spent = len(model.requests)
    assert report.left_over
    budget = Budget(requests=spent + 2)
    again = optuna.load_study(study_name="s", storage=storage, sampler=sampler(SchemaModel(9), budget=budget))
    assert run(again, 5).n_complete == 2


def test_a_proposal_that_could_not_be_stored_stays_spent() -> None:
    class Full(InMemoryStorage):
        def create_new_trial(self, study_id: int, template_trial: Any = None) -> int:
            raise OSError("the disk is full")

    study = optuna.create_study(storage=Full(), sampler=sampler(SchemaModel()))
    with pytest.raises(OptunaLLMError, match=r"creating a trial.*the disk is full"):
        anyio.run(lambda: optimize_with(seconds=0.2)(study, objective, n_trials=3, search_space=SPACE))
    (charge,) = [value for name, value in study.user_attrs.items() if name.startswith("llm_spending:")]
    assert charge["requests"] == 1


def test_a_storage_that_cannot_keep_spending_ends_no_run() -> None:
    class Forgetful(InMemoryStorage):
        def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
            raise OSError("the disk is full")

    script = Script(TransientError("down", retry_after=0.0), SchemaModel())
    study = optuna.create_study(storage=Forgetful(), sampler=sampler(script))
    assert run(study, 3).n_complete == 3


def test_a_recorded_run_has_the_budget_in_dollars_of_its_client(tmp_path: Any) -> None:
    class Priced(FunctionClient):
        async def prices(self) -> Prices:
            return Prices(prompt=1e-6, completion=1e-6)

    path = tmp_path / "run.jsonl"
    reports = []
    for client in (RecordingClient(Priced(SchemaModel()), path), None):
        study = optuna.create_study(sampler=LLMGuidedSampler(client or ReplayClient(path), budget=Budget(usd=1)))
        reports.append(run(study, 4))
    assert [report.n_complete for report in reports] == [4, 4]


def test_two_samplers_of_one_client_share_its_budget() -> None:
    model = SchemaModel()
    client = FunctionClient(model)
    reports = []
    for _ in range(2):
        study = optuna.create_study(sampler=LLMGuidedSampler(client, budget=Budget(requests=10)))
        reports.append(run(study, 7))
    assert [report.n_complete for report in reports] == [7, 3]


def test_a_budget_holds_under_study_optimize_with_threads() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE, budget=Budget(tokens=40 * PER_CALL)))

    def define_by_run(trial: optuna.Trial) -> float:
        return trial.suggest_float("momentum", 0.0, 1.0, step=0.1)

    study.optimize(define_by_run, n_trials=60, n_jobs=4, catch=(BudgetExhaustedError,))
    spent = sum(
        trial.user_attrs["llm"]["usage"]["prompt_tokens"] + trial.user_attrs["llm"]["usage"]["completion_tokens"]
        for trial in study.trials
        if "llm" in trial.user_attrs
    )
    assert 0 < spent <= 40 * PER_CALL
    assert len(study.trials) < 60


def test_a_batch_that_the_budget_cannot_pay_leaves_nothing_behind() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel(), budget=Budget(requests=3)))
    with pytest.raises(BudgetExhaustedError):
        anyio.run(lambda: ask_async(study, 5, search_space=SPACE))
    assert study.trials == []


def test_what_two_samplers_with_one_client_spend_without_a_trial_is_kept_side_by_side() -> None:
    storage = InMemoryStorage()
    client = FunctionClient(Script("nonsense"))
    for _ in range(2):
        study = optuna.create_study(
            study_name="s",
            storage=storage,
            sampler=LLMGuidedSampler(client, max_reasks=1),
            load_if_exists=True,
        )
        with pytest.raises(ProposalError):
            run(study, 5, max_failed_proposals=2)
    model = SchemaModel()
    again = optuna.load_study(study_name="s", storage=storage, sampler=sampler(model, budget=Budget(requests=10)))
    assert run(again, 5).n_complete == 2  # eight were spent before


def test_a_report_counts_what_a_configuration_took_that_another_process_was_faster_with() -> None:
    script = Script({"x": 0.5}, {"x": 0.7})
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(sampler=sampler(script, search_space=space))
    door = llm_sampler(study).door(study)
    door.sharing.update(Share(place=0, processes=2))
    reserve = door.in_flight.reserve

    def overtaken(proposal: Proposal) -> None:
        reserve(proposal)
        if proposal.params == {"x": 0.5}:
            study.add_trial(create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions=space))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(door.in_flight, "reserve", overtaken)
        report = anyio.run(lambda: optimize_async(study, lambda _: 1.0, n_trials=1, search_space=space))
    assert len(script.requests) == report.llm_calls == 2


def on_record(study: optuna.Study) -> Charge:
    """What a study says that was spent on it."""
    trials = sum((charge_of(llm_of(trial)) for trial in study.trials), Charge())
    return sum(untracked_charges(study.user_attrs).values(), trials)


def reported(report: RunReport) -> Charge:
    assert report.cost is not None
    return Charge(requests=report.llm_calls, tokens=report.tokens, usd=report.cost)


def same(one: Charge, other: Charge) -> bool:
    rest = one - other
    return (rest.requests, rest.tokens) == (0, 0) and abs(rest.usd) < 1e-9


def refused_once(model: SchemaModel) -> Any:
    """A model whose every second reply is no configuration, and costs as much."""
    refused = 0

    def answer(request: Request) -> Reply:
        nonlocal refused
        refused += 1
        reply = model(request)
        return replace(reply, text="no") if refused % 2 else reply

    return answer


def test_a_report_and_the_study_agree_on_replies_whose_reask_the_budget_did_not_pay() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(refused_once(model), budget=Budget(requests=7)))
    report = run(study, 50)
    assert (report.stop_reason, report.n_complete, report.llm_calls) == ("budget", 3, 7)
    assert same(reported(report), Charge(requests=7, tokens=7 * PER_CALL, usd=0.007))
    assert same(reported(report), on_record(study))


def test_a_report_and_the_study_agree_on_calls_that_failed_were_cancelled_or_left_over() -> None:
    model = SchemaModel()
    held = threading.Event()

    async def answer(request: Request) -> Reply:
        if len(model.requests) == 0:
            model(request)
            raise TransientError("down", retry_after=0.0)
        if len(model.requests) > 6:
            model.requests.append(request)
            held.set()
            await anyio.sleep_forever()
        return model(request)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 3:
            assert held.wait(60)
            trial.study.stop()
        return 1.0

    study = optuna.create_study(sampler=sampler(answer))
    report = anyio.run(lambda: optimize_async(study, objective, n_trials=50, search_space=SPACE, prefetch=4))
    assert report.stop_reason == "stop"
    assert report.llm_calls == len(model.requests) > 7
    assert report.tokens == 6 * PER_CALL  # of those that were answered
    assert same(reported(report), on_record(study))
    assert report.left_over


def test_two_runs_on_one_study_count_what_each_of_them_spent() -> None:
    studies = [optuna.create_study(study_name="s", sampler=sampler(Script("no", SchemaModel())))]
    studies.append(optuna.load_study(study_name="s", storage=studies[0]._storage, sampler=studies[0].sampler))
    reports: list[RunReport] = []

    async def one(study: optuna.Study) -> None:
        reports.append(await optimize_async(study, objective, n_trials=4, search_space=SPACE))

    async def both() -> None:
        async with anyio.create_task_group() as group:
            for study in studies:
                group.start_soon(one, study)

    anyio.run(both)
    assert sorted(report.llm_calls for report in reports) == [4, 5]
