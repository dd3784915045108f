"""`optimize_async` end to end: every trial is told, nothing is proposed at random, errors are clear."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import AsyncTrial, CoroutineWorkers, ProposalError, ThreadWorkers, UsageError, ask_async, optimize_async
from optuna_llm.engine.outcome import Outcome
from optuna_llm.engine.records import Call
from optuna_llm.engine.study.attributes import is_interrupted

pytestmark = pytest.mark.asyncio


async def score(trial: AsyncTrial) -> float:
    await anyio.lowlevel.checkpoint()
    return float(trial.params["momentum"])


def plain_score(trial: optuna.Trial) -> float:
    return float(trial.params["momentum"])


def states(study: optuna.Study) -> dict[TrialState, int]:
    found = [trial.state for trial in study.trials]
    return {state: found.count(state) for state in set(found)}


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
    study = optuna.create_study(sampler=sampler(model))
    report = await optimize_async(study, score, n_trials=200, n_workers=16, search_space=SPACE)
    assert states(study) == {TrialState.COMPLETE: 200}
    assert report.n_complete == 200
    assert report.llm_calls == len(model.requests) == 200 + report.reasks
    assert report.stop_reason == "n_trials"
    assert_sent(study, model)


async def test_plain_objectives_run_in_threads_side_by_side() -> None:
    together = threading.Barrier(4, timeout=20)

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
    studies = [optuna.create_study(sampler=sampler(model)) for model in models]
    for _ in range(2):
        async with anyio.create_task_group() as group:
            for study in studies:
                group.start_soon(_run, study, score)
    for study, model in zip(studies, models, strict=True):
        assert states(study) == {TrialState.COMPLETE: 40}
        assert_sent(study, model)


async def _run(study: optuna.Study, objective: Any) -> None:
    await optimize_async(study, objective, n_trials=20, n_workers=4, search_space=SPACE)


async def test_useless_replies_end_the_run_and_no_trial_holds_anything() -> None:
    study = optuna.create_study(sampler=sampler(Script("I cannot help with that.")))
    with pytest.raises(ProposalError, match="3 attempts"):
        await optimize_async(study, score, n_trials=10, n_workers=4, search_space=SPACE)
    assert study.trials == []


async def test_a_few_failed_proposals_are_asked_anew() -> None:
    bad = ["no", "no", "no"]
    study = optuna.create_study(sampler=sampler(Script(*bad, *bad, SchemaModel())))
    report = await optimize_async(study, score, n_trials=5, search_space=SPACE, max_failed_proposals=3)
    assert report.n_complete == 5
    assert report.llm_calls == 11


async def test_define_by_run_discovers_with_the_model_and_proposes_whole_configurations_then() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))

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


async def test_an_uncaught_error_ends_the_run_after_the_others_are_told() -> None:
    async def fail(trial: AsyncTrial) -> float:
        if trial.number == 3:
            raise ZeroDivisionError("by zero")
        return 1.0

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(ZeroDivisionError, match="by zero"):
        await optimize_async(study, fail, n_trials=50, n_workers=4, search_space=SPACE)
    assert set(states(study)) <= {TrialState.COMPLETE, TrialState.FAIL}
    assert study.trials[3].user_attrs["failure"]["type"] == "ZeroDivisionError"
    assert len(study.trials) < 50


@pytest.mark.parametrize("objective", [score, plain_score])
async def test_caught_errors_fail_their_trials_only(objective: Callable[..., Any]) -> None:
    async def fail(trial: AsyncTrial) -> float:
        raise ValueError("no")

    def plain_fail(trial: optuna.Trial) -> float:
        raise ValueError("no")

    study = optuna.create_study(sampler=sampler())
    failing = fail if objective is score else plain_fail
    report = await optimize_async(study, failing, n_trials=5, n_workers=2, search_space=SPACE, catch=ValueError)
    assert report.n_failed == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_base_exception_of_a_thread_ends_the_run_with_every_trial_told(error: type[BaseException]) -> None:
    def interrupt(trial: optuna.Trial) -> float:
        raise error("now")

    study = optuna.create_study(sampler=sampler())
    caught: BaseException | None = None
    try:
        await optimize_async(study, interrupt, n_trials=5, n_workers=2, search_space=SPACE)
    except BaseException as raised:
        caught = raised
    assert isinstance(caught, error)
    assert TrialState.RUNNING not in states(study)


async def test_cancelling_the_run_leaves_no_running_trial() -> None:
    started = anyio.Event()

    async def hang(trial: AsyncTrial) -> float:
        if trial.number == 3:
            started.set()
        await anyio.sleep_forever()
        return 0.0

    study = optuna.create_study(sampler=sampler())
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await optimize_async(study, hang, n_trials=9, n_workers=4, search_space=SPACE)

        group.start_soon(run)
        await started.wait()
        group.cancel_scope.cancel()
    assert states(study) == {TrialState.FAIL: 4}
    assert study.trials[0].user_attrs["failure"]["message"] == "the run was cancelled"
    assert all(map(is_interrupted, study.trials))  # their configurations may be proposed again


async def test_something_cancelled_inside_the_objective_fails_only_its_trial() -> None:
    async def objective(trial: AsyncTrial) -> float:
        raise asyncio.CancelledError("of something else")

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, objective, n_trials=3, search_space=SPACE, catch=(asyncio.CancelledError,))
    assert report.n_failed == 3


async def test_trial_timeout_fails_the_trial_and_not_the_run() -> None:
    async def hang(trial: AsyncTrial) -> float:
        if trial.number == 0:
            await anyio.sleep_forever()
        return 1.0

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, hang, n_trials=3, search_space=SPACE, trial_timeout=0.05)
    assert (report.n_complete, report.n_failed) == (2, 1)
    assert "trial_timeout" in study.trials[0].user_attrs["failure"]["message"]


async def test_a_thread_over_its_time_is_abandoned() -> None:
    release = threading.Event()

    def hang(trial: optuna.Trial) -> float:
        if trial.number == 0:
            release.wait(30)
        return 1.0

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, hang, n_trials=3, search_space=SPACE, trial_timeout=0.2)
    release.set()
    assert (report.n_complete, report.n_failed) == (2, 1)


async def test_timeout_stops_asking_and_lets_running_trials_finish() -> None:
    async def slow(trial: AsyncTrial) -> float:
        while not stopping.is_set():
            await anyio.lowlevel.checkpoint()
        return 1.0

    stopping = anyio.Event()
    study = optuna.create_study(sampler=sampler())

    async def release() -> None:
        await anyio.sleep(0.3)
        stopping.set()

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        report = await optimize_async(study, slow, n_workers=2, search_space=SPACE, timeout=0.1)
    assert report.stop_reason == "timeout"
    assert states(study) == {TrialState.COMPLETE: 2}


@pytest.mark.parametrize("where", ["coroutine", "thread", "callback"])
async def test_study_stop_works_from_everywhere(where: str) -> None:
    study = optuna.create_study(sampler=sampler())

    async def coroutine(trial: AsyncTrial) -> float:
        if trial.number == 2:
            trial.study.stop()
        return 1.0

    def thread(trial: optuna.Trial) -> float:
        if trial.number == 2:
            trial.study.stop()
        return 1.0

    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if where == "callback" and trial.number == 2:
            study.stop()

    objective: Any = {"coroutine": coroutine, "thread": thread, "callback": score}[where]
    report = await optimize_async(study, objective, n_trials=50, search_space=SPACE, callbacks=[callback])
    assert report.stop_reason == "stop"
    assert len(study.trials) == 3


async def test_callbacks_see_finished_trials_one_at_a_time_off_the_loop() -> None:
    seen: list[tuple[int, TrialState, int]] = []

    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        seen.append((trial.number, trial.state, threading.get_ident()))

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, score, n_trials=12, n_workers=4, search_space=SPACE, callbacks=[callback])
    assert sorted(number for number, _, _ in seen) == list(range(12))
    assert {state for _, state, _ in seen} == {TrialState.COMPLETE}
    assert len({thread for _, _, thread in seen}) == 1
    assert threading.get_ident() not in {thread for _, _, thread in seen}


async def test_a_callback_that_raises_ends_the_run() -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        raise LookupError("callback")

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(LookupError, match="callback"):
        await optimize_async(study, score, n_trials=5, search_space=SPACE, callbacks=[callback])
    assert states(study) == {TrialState.COMPLETE: 1}


async def test_enqueued_trials_come_first_without_a_call() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    full = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "sgd"}
    study.enqueue_trial(full)
    await optimize_async(study, score, n_trials=3, search_space=SPACE)
    assert study.trials[0].params == full
    assert len(model.requests) == 2
    assert "llm" not in study.trials[0].user_attrs


async def test_what_an_enqueued_trial_leaves_open_is_proposed_given_the_rest() -> None:
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model))
    study.enqueue_trial({"lr": 0.0125})
    await optimize_async(study, score, n_trials=1, search_space=SPACE)
    (request,) = model.requests
    assert set(request.schema["properties"]) == {"rationale", "momentum", "layers", "optimizer"}
    assert "0.0125" in model.prompts[0]
    assert study.trials[0].params["lr"] == 0.0125
    assert set(study.trials[0].params) == set(SPACE)


async def test_pruners_work_for_coroutines() -> None:
    async def objective(trial: AsyncTrial) -> float:
        for step in range(3):
            trial.report(float(trial.number), step)
            if await trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    pruner = optuna.pruners.ThresholdPruner(upper=1.5)
    study = optuna.create_study(sampler=sampler(), pruner=pruner)
    report = await optimize_async(study, objective, n_trials=4, search_space=SPACE)
    assert (report.n_complete, report.n_pruned) == (2, 2)
    assert study.trials[0].intermediate_values == {0: 0.0, 1: 0.0, 2: 0.0}


async def test_pruners_work_for_threads_as_they_are() -> None:
    def objective(trial: optuna.Trial) -> float:
        for step in range(3):
            trial.report(float(trial.number), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    study = optuna.create_study(sampler=sampler(), pruner=optuna.pruners.ThresholdPruner(upper=1.5))
    report = await optimize_async(study, objective, n_trials=4, search_space=SPACE)
    assert (report.n_complete, report.n_pruned) == (2, 2)


async def test_optunas_own_callbacks_work_as_they_are() -> None:
    study = optuna.create_study(sampler=sampler())
    stop = optuna.study.MaxTrialsCallback(5, states=(TrialState.COMPLETE,))
    report = await optimize_async(study, score, n_trials=50, search_space=SPACE, callbacks=[stop])
    assert (report.n_complete, report.stop_reason) == (5, "stop")


async def test_should_prune_without_await_is_an_error_and_not_a_pruned_trial() -> None:
    async def forgetful(trial: AsyncTrial) -> float:
        trial.report(1.0, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="must be awaited"):
        await optimize_async(study, forgetful, n_trials=3, search_space=SPACE)
    assert states(study) == {TrialState.FAIL: 1}


async def test_what_an_objective_queued_is_stored_before_its_trial_is_told() -> None:
    async def objective(trial: AsyncTrial) -> float:
        trial.set_user_attr("epochs", 7)
        trial.report(0.5, 3)
        return 1.0

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, objective, n_trials=1, search_space=SPACE)
    assert study.trials[0].user_attrs["epochs"] == 7
    assert study.trials[0].intermediate_values == {3: 0.5}


async def test_an_error_of_a_queued_call_fails_the_trial() -> None:
    async def objective(trial: AsyncTrial) -> float:
        trial.report(0.5, -1)
        return 1.0

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, objective, n_trials=1, search_space=SPACE, catch=ValueError)
    assert report.n_failed == 1
    assert "non-negative" in study.trials[0].user_attrs["failure"]["message"]


async def test_a_name_outside_the_space_is_a_usage_error_that_catch_does_not_cover() -> None:
    async def objective(trial: AsyncTrial) -> float:
        return trial.suggest_float("unheard", 0, 1)

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="'unheard' is not in the search space"):
        await optimize_async(study, objective, n_trials=5, search_space=SPACE, catch=Exception)
    assert states(study) == {TrialState.FAIL: 1}


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
    assert record["usage"] == {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 5, "cost": 0.001}
    assert len(record["run"]) == 12
    assert set(record) == {
        *("schema_version", "model", "rationale", "role", "context", "staleness", "calls", "reasks", "repairs"),
        *("duplicate_of", "usage", "latency", "run", "strategy", "form", "inside", "region"),
    }


async def test_the_report_adds_up() -> None:
    study = optuna.create_study(sampler=sampler(Script("no", SchemaModel())))
    report = await optimize_async(study, score, n_trials=4, n_workers=2, search_space=SPACE)
    assert report.llm_calls == 5
    assert report.reasks == 1
    assert report.cost is None  # the first reply did not say what it cost
    assert report.seconds > 0
    assert report.utilization is not None
    assert 0 <= report.utilization <= 1
    assert "4 complete" in str(report)


async def test_a_thread_over_its_time_is_told() -> None:
    told = threading.Event()

    def patient(trial: Any) -> float:
        if trial.cancelled.wait(30):
            told.set()
        return 1.0

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, patient, n_trials=1, search_space=SPACE, trial_timeout=0.05)
    assert await anyio.to_thread.run_sync(told.wait, 10)


async def test_a_failed_trial_is_tried_again_with_the_same_configuration_and_no_call() -> None:
    model = SchemaModel()

    async def flaky(trial: AsyncTrial) -> float:
        if trial.number in (0, 1):
            raise OSError("flaky")
        return 1.0

    study = optuna.create_study(sampler=sampler(model))
    report = await optimize_async(study, flaky, n_trials=4, search_space=SPACE, catch=OSError, retries=2)
    assert (report.n_failed, report.n_complete) == (2, 2)
    assert [trial.params for trial in study.trials[:3]] == [study.trials[0].params] * 3
    assert study.trials[2].system_attrs["failed_trial"] == 0
    assert study.trials[2].system_attrs["retry_history"] == [0, 1]
    assert len(model.requests) == report.llm_calls == 2
    assert study.trials[1].user_attrs["llm"]["model"] == "test-model"


async def test_a_configuration_that_always_fails_is_given_up_after_its_retries() -> None:
    async def broken(trial: AsyncTrial) -> float:
        raise OSError("broken")

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, broken, n_trials=6, search_space=SPACE, catch=OSError, retries=1)
    configurations = [tuple(trial.params.items()) for trial in study.trials]
    assert [configurations.count(one) for one in configurations] == [2] * 6


async def test_too_many_failures_end_the_run() -> None:
    async def half(trial: AsyncTrial) -> float:
        if trial.number % 2:
            raise OSError("odd")
        return 1.0

    for rate, expected in [(0.3, "max_failure_rate"), (0.6, "n_trials")]:
        study = optuna.create_study(sampler=sampler())
        report = await optimize_async(
            study, half, n_trials=12, search_space=SPACE, catch=OSError, max_failure_rate=rate
        )
        assert report.stop_reason == expected


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


async def test_the_time_of_a_run_is_accounted_for() -> None:
    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, score, n_trials=8, n_workers=2, search_space=SPACE)
    assert report.llm_seconds == pytest.approx(8 * 0.25)  # as the model of the tests says
    split = report.objective_seconds + report.storage_seconds + report.idle_seconds
    assert 0 < report.objective_seconds < split
    assert report.limiter_seconds >= 0


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
        ({"max_failure_rate": 1.5}, "max_failure_rate must be a number from 0 to below 1"),
        ({"max_failed_proposals": 0}, "max_failed_proposals"),
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


@pytest.mark.parametrize("slots", [0, -3, "a", 1.5])
@pytest.mark.parametrize("kind", [CoroutineWorkers, ThreadWorkers])
async def test_workers_refuse_what_is_no_number_of_slots(kind: Any, slots: Any) -> None:
    with pytest.raises(UsageError, match="slots must be a whole number"):
        kind(slots)


async def test_an_objective_that_does_not_suit_its_workers_ends_the_run() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="use `async def`"):
        await optimize_async(study, lambda t: score(t), n_trials=9, search_space=SPACE, catch=Exception)
    with pytest.raises(UsageError, match="use threads"):
        await optimize_async(
            study, plain_score, n_trials=9, search_space=SPACE, workers=CoroutineWorkers(), catch=Exception
        )
    assert states(study) == {TrialState.FAIL: 2}


async def nothing_reserved(study: optuna.Study) -> None:
    """What was accepted at the moment of the cancellation is released on the other thread, a moment later."""
    door = study.sampler.door(study)  # type: ignore[attr-defined]
    with anyio.fail_after(10):
        while door.snapshot().reserved:  # noqa: ASYNC110 (there is no event to wait for)
            await anyio.sleep(0.001)


async def test_a_cancelled_run_leaves_nothing_reserved() -> None:
    for prefetch in (0, 3):
        study = optuna.create_study(sampler=sampler())
        ready = anyio.Event()

        async def hang(trial: AsyncTrial, ready: anyio.Event = ready) -> float:
            ready.set()
            await anyio.sleep_forever()
            return 0.0

        async with anyio.create_task_group() as group:

            async def run(study: Any = study, objective: Any = hang, ahead: int = prefetch) -> None:
                await optimize_async(study, objective, n_workers=3, search_space=SPACE, prefetch=ahead)

            group.start_soon(run)
            await ready.wait()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await nothing_reserved(study)
        assert TrialState.RUNNING not in states(study)


async def test_cancelled_asks_leave_nothing_reserved_and_nothing_running() -> None:
    study = optuna.create_study(sampler=sampler())
    for turn in range(40):
        with anyio.move_on_after(turn / 8000):
            for trial in await ask_async(study, 3, search_space=SPACE):
                study.tell(trial, 1.0)
    await nothing_reserved(study)
    assert TrialState.RUNNING not in states(study)


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


async def test_what_looks_like_a_key_is_not_on_record() -> None:
    async def leak(trial: AsyncTrial) -> float:
        raise ValueError("refused sk-abcdefghijklmnopqrstuvwx")

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, leak, n_trials=1, search_space=SPACE, catch=ValueError)
    assert "sk-abc" not in str(study.trials[0].user_attrs)
    assert "refused" in study.trials[0].user_attrs["failure"]["message"]


async def test_an_interrupt_in_a_callback_ends_the_run_after_the_others_are_told() -> None:
    def interrupt(study: optuna.Study, trial: Any) -> None:
        raise KeyboardInterrupt

    study = optuna.create_study(sampler=sampler())
    caught: BaseException | None = None
    try:
        await optimize_async(study, score, n_trials=9, n_workers=3, search_space=SPACE, callbacks=[interrupt])
    except BaseException as raised:
        caught = raised
    assert isinstance(caught, KeyboardInterrupt)
    assert set(states(study)) == {TrialState.COMPLETE}


async def test_ask_async_without_a_known_space_is_refused() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="no parameter is known yet"):
        await ask_async(study, 2)


async def test_an_async_objective_with_no_space_known_is_refused() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(UsageError, match="search space declared"):
        await optimize_async(study, score, n_trials=1)


async def test_a_multi_objective_study_is_refused() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler())
    with pytest.raises(UsageError, match="2 objectives"):
        await optimize_async(study, score, n_trials=1, search_space=SPACE)


async def test_a_place_to_run_that_fails_is_a_failure_of_its_trial_and_no_interruption() -> None:
    class Broken:
        slots = None

        async def run(self, call: Call) -> Outcome:
            await anyio.lowlevel.checkpoint()
            raise RuntimeError("the worker died")

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(RuntimeError, match="the worker died"):
        await optimize_async(study, plain_score, n_trials=3, search_space=SPACE, workers=Broken())
    (trial,) = study.trials
    assert not is_interrupted(trial)
    assert trial.user_attrs["failure"]["message"] == "the worker died"
