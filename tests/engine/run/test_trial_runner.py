"""One trial from its creation to its end: errors, time limits, retries, callbacks, and storages that fail."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import clock
import optuna
import pytest
from objectives import plain_score, score, states
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from support import SPACE, SchemaModel, optimize_with, sampler

from optuna_llm import (
    AsyncTrial,
    Budget,
    BudgetExhaustedError,
    OptunaLLMError,
    ProposalError,
    Request,
    RunReport,
    UsageError,
    WorkerError,
    optimize_async,
)
from optuna_llm.engine.outcome import Outcome, completed
from optuna_llm.engine.records import Call
from optuna_llm.engine.study.attributes import is_interrupted


@pytest.mark.asyncio
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


@pytest.mark.asyncio
async def test_something_cancelled_inside_the_objective_fails_only_its_trial() -> None:
    async def objective(trial: AsyncTrial) -> float:
        raise asyncio.CancelledError("of something else")

    study = optuna.create_study(sampler=sampler())
    report = await optimize_async(study, objective, n_trials=3, search_space=SPACE, catch=(asyncio.CancelledError,))
    assert report.n_failed == 3


def test_trial_timeout_fails_the_trial_and_not_the_run() -> None:
    async def hang(trial: AsyncTrial) -> float:
        if trial.number == 0:
            clock.push(3600)
            await anyio.sleep_forever()
        return 1.0

    async def main() -> RunReport:
        return await optimize_async(study, hang, n_trials=3, search_space=SPACE, trial_timeout=3600)

    study = optuna.create_study(sampler=sampler())
    report = clock.run_pushed(main())
    assert (report.n_complete, report.n_failed) == (2, 1)
    assert "trial_timeout" in study.trials[0].user_attrs["failure"]["message"]


@pytest.mark.asyncio
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


@pytest.mark.asyncio
async def test_a_configuration_that_always_fails_is_given_up_after_its_retries() -> None:
    async def broken(trial: AsyncTrial) -> float:
        raise OSError("broken")

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, broken, n_trials=6, search_space=SPACE, catch=OSError, retries=1)
    configurations = [tuple(trial.params.items()) for trial in study.trials]
    assert [configurations.count(one) for one in configurations] == [2] * 6


@pytest.mark.asyncio
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


@pytest.mark.asyncio
async def test_what_a_callback_does_to_its_trial_is_not_done_to_the_study() -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        trial.params.clear()
        trial.user_attrs["llm"].clear()

    study = optuna.create_study(sampler=sampler())
    await optimize_async(study, score, n_trials=3, search_space=SPACE, callbacks=[callback])
    assert all(trial.params.keys() == SPACE.keys() and trial.user_attrs["llm"]["calls"] for trial in study.trials)


@pytest.mark.asyncio
async def test_a_callback_that_raises_ends_the_run() -> None:
    def callback(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        raise LookupError("callback")

    study = optuna.create_study(sampler=sampler())
    with pytest.raises(LookupError, match="callback"):
        await optimize_async(study, score, n_trials=5, search_space=SPACE, callbacks=[callback])
    assert states(study) == {TrialState.COMPLETE: 1}


@pytest.mark.asyncio
async def test_optunas_own_callbacks_work_as_they_are() -> None:
    study = optuna.create_study(sampler=sampler())
    stop = optuna.study.MaxTrialsCallback(5, states=(TrialState.COMPLETE,))
    report = await optimize_async(study, score, n_trials=50, search_space=SPACE, callbacks=[stop])
    assert (report.n_complete, report.stop_reason) == (5, "stop")


class Broken:
    """A place to run that fails for trial 0, once trial 1 runs too."""

    slots = 2

    def __init__(self) -> None:
        self.other_runs = anyio.Event()

    def __repr__(self) -> str:
        return "Broken()"

    async def run(self, call: Call) -> Outcome:
        if call.trial.number == 0:
            await self.other_runs.wait()
            raise RuntimeError("the machine is gone")
        self.other_runs.set()
        await anyio.lowlevel.checkpoint()
        return completed(1.0)


@pytest.mark.asyncio
async def test_workers_that_fail_end_the_run_with_a_worker_error_after_the_others_are_told() -> None:
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(WorkerError, match=r"Broken\(\) failed while it ran trial 0: RuntimeError") as caught:
        await optimize_async(
            study, plain_score, n_trials=9, search_space=SPACE, workers=Broken(), catch=Exception, retries=3
        )
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert study.trials[0].state is TrialState.FAIL
    assert TrialState.RUNNING not in states(study)
    assert TrialState.WAITING not in states(study)  # it is not the configuration that failed
    failure = study.trials[0].user_attrs["failure"]
    assert failure["type"] == "WorkerError"
    assert "the machine is gone" in failure["message"]
    assert not is_interrupted(study.trials[0])


# -- a storage that fails or stalls loses no result silently


class Failing(InMemoryStorage):
    """Fails at its calls of one name, so many times."""

    def __init__(self, name: str, times: int) -> None:
        super().__init__()
        self.name, self.times = name, times

    def _fails(self, name: str) -> None:
        if name == self.name and self.times:
            self.times -= 1
            raise OSError("the disk is full")

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> Any:
        self._fails("state")
        return super().set_trial_state_values(*args, **kwargs)

    def set_trial_user_attr(self, *args: Any, **kwargs: Any) -> Any:
        self._fails("attribute")
        return super().set_trial_user_attr(*args, **kwargs)

    def get_trial(self, *args: Any, **kwargs: Any) -> Any:
        self._fails("read")
        return super().get_trial(*args, **kwargs)


async def objective(trial: AsyncTrial) -> float:
    await anyio.lowlevel.checkpoint()
    if trial.number == 1:
        raise ValueError("no luck")
    return 4.25


def run(storage: InMemoryStorage, **policy: float) -> optuna.Study:
    study = optuna.create_study(storage=storage, sampler=sampler())
    optimize = optimize_with(**policy)
    anyio.run(lambda: optimize(study, objective, n_trials=3, n_workers=1, search_space=SPACE, catch=ValueError))
    return study


@pytest.mark.parametrize("name", ["state", "attribute"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_storage_that_fails_for_a_while_gets_every_result(name: str, times: int) -> None:
    storage = Failing(name, times)
    study = run(storage, first_pause=0.001)
    assert storage.times == 0
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].user_attrs["failure"]["message"] == "no luck"


def test_a_result_that_cannot_be_told_is_in_the_error() -> None:
    with pytest.raises(OptunaLLMError, match=r"trial 0 within.*disk is full.*COMPLETE, value 4.25, parameters.*lr"):
        run(Failing("state", 10**6), first_pause=0.01, seconds=0.2)


def test_every_result_that_is_lost_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    optimize = optimize_with(first_pause=0.01, seconds=0.2)
    study = optuna.create_study(storage=Failing("state", 10**6), sampler=sampler())
    both = anyio.Event()

    async def together(trial: AsyncTrial) -> float:
        if trial.number == 1:
            both.set()
        await both.wait()
        return float(trial.number)

    with pytest.raises(OptunaLLMError):
        anyio.run(lambda: optimize(study, together, n_trials=2, n_workers=2, search_space=SPACE))
    lost = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sorted(line.split("within")[0][-3:].strip() for line in lost) == ["0", "1"]


def test_an_error_of_a_sampler_after_the_result_is_stored_ends_the_run_as_it_is() -> None:
    class Picky(optuna.samplers.RandomSampler):
        calls = 0

        def after_trial(self, *args: Any) -> None:
            self.calls += 1
            raise LookupError("after")

    picky = Picky(seed=1)
    study = optuna.create_study(sampler=picky)
    with pytest.raises(LookupError, match="after"):
        anyio.run(lambda: optimize_async(study, objective, n_trials=3, search_space=SPACE))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert picky.calls == 1


def test_a_storage_that_does_not_answer_is_given_up() -> None:
    release = threading.Event()

    class Stalling(InMemoryStorage):
        def set_trial_state_values(self, *args: Any, **kwargs: Any) -> Any:
            release.wait(10)
            return super().set_trial_state_values(*args, **kwargs)

    try:
        with pytest.raises(OptunaLLMError, match=r"did not answer.*value 4\.25"):
            run(Stalling(), seconds=0.2)
    finally:
        release.set()


def suggest(trial: optuna.Trial) -> float:
    return trial.suggest_float("momentum", 0, 1, step=0.1)


def inner_budget(trial: Any) -> None:
    optuna.create_study(sampler=sampler(budget=Budget(requests=0))).optimize(suggest, n_trials=1)


def inner_invalid(trial: Any) -> None:
    optuna.create_study(sampler=sampler(lambda request: "no JSON")).optimize(suggest, n_trials=1)


def inner_usage(trial: Any) -> None:
    optuna.create_study(directions=["minimize"] * 2, sampler=sampler()).optimize(suggest, n_trials=1)


def by_hand(trial: Any) -> None:
    raise BudgetExhaustedError("mine")


INNER: list[tuple[Callable[..., Any], type[OptunaLLMError]]] = [
    (inner_budget, BudgetExhaustedError),
    (inner_invalid, ProposalError),
    (inner_usage, UsageError),
    (by_hand, BudgetExhaustedError),
]


@pytest.mark.parametrize(("objective", "kind"), INNER)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_errors_of_a_study_inside_the_objective_are_the_objectives_own(
    objective: Callable[..., Any], kind: type[OptunaLLMError], asynchronous: bool
) -> None:
    async def awaited(trial: AsyncTrial) -> None:
        await anyio.to_thread.run_sync(objective, trial)

    for catch, ended in (((), True), ((kind,), False)):
        study = optuna.create_study(sampler=sampler())
        chosen = awaited if asynchronous else objective
        run = functools.partial(optimize_async, study, chosen, n_trials=4, search_space=SPACE, catch=catch)
        if ended:
            with pytest.raises(kind):
                anyio.run(run)
        else:
            assert anyio.run(run).stop_reason == "n_trials"
        assert states(study) == {TrialState.FAIL: 1 if ended else 4}


def test_errors_of_a_study_inside_the_model_are_not_ours_either() -> None:
    async def model(request: Request) -> None:
        await asyncio.to_thread(inner_budget, request)

    study = optuna.create_study(sampler=sampler(model))
    with pytest.raises(BudgetExhaustedError):
        anyio.run(lambda: optimize_async(study, plain_score, n_trials=4, search_space=SPACE))


@pytest.mark.parametrize("answer", ["no JSON", BudgetExhaustedError])
def test_errors_of_asking_for_this_study_inside_its_objective_stay_ours(answer: Any) -> None:
    """Define-by-run: `suggest_*` asks for a name that nobody has met."""
    budget = Budget(requests=0) if answer is BudgetExhaustedError else None
    study = optuna.create_study(sampler=sampler(lambda request: answer, budget=budget, max_reasks=0))
    run = functools.partial(optimize_async, study, suggest, n_trials=9)
    run = functools.partial(run, catch=(OptunaLLMError,))
    if answer == "no JSON":
        with pytest.raises(ProposalError):
            anyio.run(run)
        assert states(study) == {TrialState.FAIL: 3}  # so many proposals in a row may fail
    else:
        assert anyio.run(run).stop_reason == "budget"  # although the sampler calls `study.stop`, as for Optuna's loop


@pytest.mark.parametrize("use", ["unknown name", "no await", "awaitable"])
def test_a_wrong_use_of_this_run_is_never_caught(use: str) -> None:
    async def objective(trial: AsyncTrial) -> float:
        if use == "no await":
            bool(trial.should_prune())
        return trial.suggest_float("unknown", 0, 1)

    study = optuna.create_study(sampler=sampler())
    chosen = (lambda trial: objective(trial)) if use == "awaitable" else objective
    run = functools.partial(optimize_async, study, chosen, n_trials=3, search_space=SPACE, catch=Exception)
    with pytest.raises(UsageError):
        anyio.run(run)
    assert states(study) == {TrialState.FAIL: 1}
