"""`optimize_async` end to end: every trial is told, nothing is proposed at random, and what cannot work is refused."""

import threading
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from objectives import plain_score, score, states
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, CoroutineWorkers, UsageError, ask_async, optimize_async

pytestmark = pytest.mark.asyncio


def assert_sent(study: optuna.Study, model: SchemaModel) -> None:
    """Every trial's parameters are what the client sent, after the recorded repairs."""
    sent = {tuple(sorted((k, repr(v)) for k, v in trial.items())) for trial in configurations(model)}
    for trial in study.trials:
        if not trial.user_attrs["llm"]["repairs"]:
            assert tuple(sorted((k, repr(v)) for k, v in trial.params.items())) in sent
        else:
            assert all("momentum" in repair or "layers" in repair for repair in trial.user_attrs["llm"]["repairs"])
            close = [c for c in configurations(model) if c["lr"] == trial.params["lr"]]
            assert close
            assert abs(close[0]["momentum"] - trial.params["momentum"]) <= 0.05 + 1e-9
            assert abs(close[0]["layers"] - trial.params["layers"]) <= 1
            assert close[0]["optimizer"] == trial.params["optimizer"]


def configurations(model: SchemaModel) -> list[dict[str, Any]]:
    found = []
    for document in model.documents:
        values = {name: value for name, value in document.items() if name != "rationale"}
        values["momentum"] = float(values["momentum"])
        values["optimizer"] = {"adam": "adam", "sgd": "sgd", "null": None}[values["optimizer"]]
        found.append(values)
    return found


async def test_two_hundred_trials_with_sixteen_coroutine_workers_are_what_the_client_sent() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))
    report = await optimize_async(study, score, n_trials=200, n_workers=16, search_space=SPACE)
    assert states(study) == {TrialState.COMPLETE: 200}
    assert report.n_complete == 200
    assert report.llm_calls == len(model.requests) == 200 + report.reasks
    assert report.stop_reason == "n_trials"
    assert_sent(study, model)


async def test_plain_objectives_run_in_threads_side_by_side() -> None:
    together = threading.Barrier(4, timeout=60)

    def meet(trial: optuna.Trial) -> float:
        together.wait()
        return plain_score(trial)

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, meet, n_trials=8, n_workers=4, search_space=SPACE)
    assert states(study) == {TrialState.COMPLETE: 8}


async def test_coroutine_workers_run_side_by_side() -> None:
    running, most = 0, 0

    async def count(trial: AsyncTrial) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        while most < 4:
            await anyio.lowlevel.checkpoint()
        running -= 1
        return 0.0

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, count, n_trials=8, n_workers=4, search_space=SPACE)
    assert most == 4


async def test_two_studies_at_once_and_two_runs_in_a_row() -> None:
    models = [SchemaModel(1), SchemaModel(2)]
    studies = [optuna.create_study(sampler=sampler(model, strategy="plain")) for model in models]
    for _ in range(2):
        async with anyio.create_task_group() as group:
            for study in studies:
                group.start_soon(_run, study, score)
    for study, model in zip(studies, models, strict=True):
        assert states(study) == {TrialState.COMPLETE: 40}
        assert_sent(study, model)


async def _run(study: optuna.Study, objective: Any) -> None:
    await optimize_async(study, objective, n_trials=20, n_workers=4, search_space=SPACE)


async def test_define_by_run_discovers_with_the_model_and_proposes_whole_configurations_then() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        return x + trial.suggest_int("y", 0, 9)

    await optimize_async(study, objective, n_trials=10, n_workers=4)
    assert states(study) == {TrialState.COMPLETE: 10}
    roles = [trial.user_attrs["llm"]["role"] for trial in study.trials]
    assert roles.count("discovery") == 1
    assert len(model.requests) == 2 + 9
    keys = [set(request.schema["properties"]) - {"rationale"} for request in model.requests]
    assert keys.count({"x"}) == 1
    assert keys.count({"y"}) == 1
    assert keys.count({"x", "y"}) == 9


async def test_conditional_parameters_are_proposed_as_a_union_and_written_as_suggested() -> None:
    union = {
        "kind": SPACE["optimizer"],
        "lr": SPACE["lr"],
        "depth": SPACE["layers"],
    }

    async def objective(trial: AsyncTrial) -> float:
        if trial.suggest_categorical("kind", ("adam", "sgd", None)) == "adam":
            return trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        return trial.suggest_int("depth", 1, 9, step=2)

    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=union))
    await optimize_async(study, objective, n_trials=20, n_workers=4)
    assert len(model.requests) == sum(trial.user_attrs["llm"]["calls"] for trial in study.trials)
    for trial in study.trials:
        assert set(trial.params) == ({"kind", "lr"} if trial.params["kind"] == "adam" else {"kind", "depth"})
        assert trial.user_attrs["llm"]["role"] != "discovery"


async def test_two_study_objects_of_one_storage_keep_their_own_pruner_and_stop() -> None:
    storage = optuna.storages.InMemoryStorage()
    ours = sampler()
    first = optuna.create_study(storage=storage, study_name="s", sampler=ours)
    await optimize_async(first, score, n_trials=2, search_space=SPACE)
    pruner = optuna.pruners.ThresholdPruner(upper=0.5)
    second = optuna.load_study(storage=storage, study_name="s", sampler=ours, pruner=pruner)

    async def prunable(trial: AsyncTrial) -> float:
        assert trial.study is second
        trial.report(1.0, 0)
        if await trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    report = await optimize_async(
        second, prunable, n_trials=9, search_space=SPACE, callbacks=[lambda study, trial: study.stop()]
    )
    assert (report.n_pruned, report.stop_reason) == (1, "stop")


async def test_the_prompt_shows_finished_failed_and_running_trials_without_secrets() -> None:
    model = SchemaModel()

    async def objective(trial: AsyncTrial) -> float:
        if trial.number == 1:
            raise MemoryError("CUDA out of memory in /home/user/train.py, key sk-aaaaaaaaaaaaaaaaaaaaaaaa")
        return 0.123456

    study = optuna.create_study(sampler=sampler(model))
    (running,) = await ask_async(study, search_space=SPACE)
    await optimize_async(study, objective, n_trials=3, search_space=SPACE, catch=MemoryError)
    last = model.prompts[-1]
    assert "\n2,0.1235," in last
    assert f"\n{running.number},running," in last
    assert '1: MemoryError: "CUDA out of memory in <path>, key' in last
    assert "sk-aaa" not in last
    assert "/home" not in last


async def test_every_trial_says_who_proposed_it_and_from_what() -> None:
    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, score, n_trials=3, search_space=SPACE)
    record = study.trials[2].user_attrs["llm"]
    assert record["model"] == "test-model"
    assert record["rationale"] == "because"
    assert record["context"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0}
    assert record["calls"] == 1
    assert record["reasks"] == 0
    assert record["staleness"] == 0
    assert record["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cached_tokens": 5,
        "written_tokens": 0,
        "cost": 0.001,
    }
    assert len(record["run"]) == 12
    assert set(record) == {
        *("schema_version", "model", "rationale", "role", "context", "staleness", "calls", "reasks", "repairs"),
        *("duplicate_of", "usage", "latency", "run", "worker", "strategy", "form"),
    }


async def test_prefetched_proposals_know_how_stale_they_are_and_what_is_left_over_is_counted() -> None:
    study = optuna.create_study(sampler=sampler())

    async def objective(trial: AsyncTrial) -> float:
        while trial.number < 9 and asked.n < min(trial.number + 4, 10):  # the next proposals are computed meanwhile
            await anyio.lowlevel.checkpoint()
        if trial.number == 5:
            trial.study.stop()
        return 1.0

    class Counting(SchemaModel):
        n = 0

        def __call__(self, request: Any) -> Any:
            self.n += 1
            return super().__call__(request)

    asked = Counting()
    study = optuna.create_study(sampler=sampler(asked))
    report = await optimize_async(study, objective, n_trials=10, search_space=SPACE, prefetch=3)
    assert report.stop_reason == "stop"
    assert len(study.trials) == 6
    assert report.left_over == len(asked.requests) - 6 - report.reasks
    assert [trial.user_attrs["llm"]["staleness"] for trial in study.trials[3:]] == [3, 3, 3]


async def test_what_looks_like_a_key_is_not_on_record() -> None:
    async def leak(trial: AsyncTrial) -> float:
        raise ValueError("refused sk-abcdefghijklmnopqrstuvwx")

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, leak, n_trials=1, search_space=SPACE, catch=ValueError)
    assert "sk-abc" not in str(study.trials[0].user_attrs)
    assert "refused" in study.trials[0].user_attrs["failure"]["message"]


# -- what cannot work is refused before anything runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_workers": 0}, "n_workers must be a whole number of at least 1"),
        ({"n_workers": 1.5}, "n_workers"),
        ({"n_trials": -1}, "n_trials"),
        ({"timeout": 0}, "timeout must be a positive number"),
        ({"trial_timeout": float("nan")}, "trial_timeout"),
        ({"prefetch": -1}, "prefetch"),
        ({"retries": -1}, "retries"),
        ({"max_failure_rate": 1.5}, "max_failure_rate must be a number from 0 to 1 or None"),
        ({"max_failed_proposals": 0}, "max_failed_proposals"),
        ({"patience": -1}, "patience must be a number of seconds of at least 0"),
        ({"grace": True}, "grace must be a number of seconds of at least 0"),
        ({"total_trials": -1}, "total_trials must be a whole number of at least 0 or None"),
        ({"handle_signals": 1}, "handle_signals must be True, False or None"),
        ({"search_space": {}}, "search space is empty"),
        ({"search_space": {"x": (0, 1)}}, "'x': tuple is no Optuna distribution"),
        ({"search_space": {"x": FloatDistribution(0, float("inf"))}}, "give finite bounds"),
        ({"search_space": {"other": SPACE["lr"]}}, "differs from the sampler's own"),
        ({"catch": "ValueError"}, "catch takes exception types"),
        ({"callbacks": ["x"]}, "callbacks must be callable"),
        ({"callbacks": print}, "callbacks takes a list of functions"),
        ({"callbacks": [score]}, "callbacks must be plain functions"),
        ({"catch": 3}, "catch takes exception types"),
        ({"workers": 3}, "workers must be an object"),
        ({"workers": CoroutineWorkers}, "workers must be an object"),
    ],
)
async def test_bad_input_is_refused_before_anything_runs(options: dict[str, Any], message: str) -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE))
    with pytest.raises(UsageError, match=message):
        await optimize_async(study, score, **{"n_trials": 1, **options})
    assert study.trials == []
    assert model.requests == []


async def test_an_objective_that_does_not_suit_its_workers_ends_the_run() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="cannot await"):
        await optimize_async(study, lambda t: score(t), n_trials=9, search_space=SPACE, catch=Exception)
    with pytest.raises(UsageError, match="use threads"):
        await optimize_async(
            study, plain_score, n_trials=9, search_space=SPACE, workers=CoroutineWorkers(), catch=Exception
        )
    assert states(study) == {TrialState.FAIL: 2}


async def test_an_async_objective_with_no_space_known_is_refused() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="search space declared"):
        await optimize_async(study, score, n_trials=1)


async def test_a_multi_objective_study_is_refused() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler())
    with pytest.raises(UsageError, match="2 objectives"):
        await optimize_async(study, score, n_trials=1, search_space=SPACE)


def lefts(model: SchemaModel) -> list[str]:
    """What each prompt says of the proposals that are left."""
    return [
        text.partition("Propose one ")[2].partition(". ")[2].partition("included.")[0].partition("one:")[0].strip()
        for text in model.prompts
    ]


@pytest.mark.asyncio
async def test_prompts_say_how_many_proposals_are_left_where_an_end_is_known() -> None:
    async def said(n_workers: int = 1, **options: Any) -> list[str]:
        model = SchemaModel()
        study = optuna.create_study(sampler=sampler(model, strategy="plain"))
        await optimize_async(study, plain_score, n_workers=n_workers, search_space=SPACE, **options)
        return lefts(model)

    counted = ["3 proposals are left, this one", "2 proposals are left, this one", "It is the last"]
    assert await said(n_trials=3) == counted
    assert await said(total_trials=3) == counted
    assert await said(n_trials=9, total_trials=3) == counted
    assert await said(n_trials=3, n_workers=3) == counted


@pytest.mark.asyncio
async def test_prompts_say_nothing_of_what_is_left_where_no_end_is_known() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, strategy="plain"))

    def stop_after_two(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 1:
            study.stop()

    await optimize_async(study, plain_score, search_space=SPACE, callbacks=[stop_after_two])
    assert not any("left" in text or "last one" in text for text in model.prompts)
