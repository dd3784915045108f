"""A storage that fails or stalls loses no result silently."""

import threading
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from support import SPACE, optimize_with, sampler

from optuna_llm import AsyncTrial, OptunaLLMError, optimize_async


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
