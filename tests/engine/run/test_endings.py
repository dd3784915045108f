"""Whatever ends a run, its trials are told and nothing stays reserved."""

from typing import Any

import anyio
import anyio.lowlevel
import clock
import optuna
import pytest
from objectives import nothing_reserved, score, states
from optuna.trial import TrialState
from support import SPACE, SchemaModel, Script, sampler

from optuna_llm import AsyncTrial, AuthenticationError, ProposalError, Request, RunReport, optimize_async
from optuna_llm.engine.fleet.runs import runs_of
from optuna_llm.engine.study.attributes import is_interrupted


@pytest.mark.asyncio
async def test_useless_replies_end_the_run_and_no_trial_holds_anything() -> None:
    study = optuna.create_study(sampler=sampler(Script("I cannot help with that.")))
    with pytest.raises(ProposalError, match="3 attempts"):
        await optimize_async(study, score, n_trials=10, n_workers=4, search_space=SPACE)
    assert study.trials == []


@pytest.mark.asyncio
async def test_a_few_failed_proposals_are_asked_anew() -> None:
    bad = ["no", "no", "no"]
    study = optuna.create_study(sampler=sampler(Script(*bad, *bad, SchemaModel())))
    report = await optimize_async(study, score, n_trials=5, search_space=SPACE, max_failed_proposals=3)
    assert report.n_complete == 5
    assert report.llm_calls == 11


@pytest.mark.asyncio
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


@pytest.mark.asyncio
async def test_a_key_that_is_missing_while_the_space_is_discovered_is_why_the_run_ends() -> None:
    def no_key(request: Request) -> str:
        raise AuthenticationError("no API key")

    study = optuna.create_study(sampler=sampler(no_key))
    with pytest.raises(AuthenticationError, match="no API key"):
        await optimize_async(study, lambda trial: trial.suggest_float("x", 0, 1), n_trials=4, n_workers=2)
    assert [run.stop_reason for run in runs_of(study)] == ["error"]


@pytest.mark.asyncio
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


@pytest.mark.asyncio
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


@pytest.mark.asyncio
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


def test_timeout_stops_asking_and_lets_running_trials_finish() -> None:
    async def slow(trial: AsyncTrial) -> float:
        running.add(trial.number)
        while len(running) < 2:
            await anyio.lowlevel.checkpoint()
        if trial.number == 1:
            clock.push(3600)
        await clock.turns(50)  # until the run has taken in that its time is over
        return 1.0

    async def main() -> RunReport:
        return await optimize_async(study, slow, n_workers=2, search_space=SPACE, timeout=3600)

    running: set[int] = set()
    study = optuna.create_study(sampler=sampler())
    report = clock.run_pushed(main())
    assert report.stop_reason == "timeout"
    assert states(study) == {TrialState.COMPLETE: 2}


@pytest.mark.asyncio
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


@pytest.mark.asyncio
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


@pytest.mark.asyncio
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
