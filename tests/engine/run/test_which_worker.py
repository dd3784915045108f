"""Each trial says which worker of its run ran it, whatever proposed it, and in no write of its own."""

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from support import SPACE, SchemaModel, sampler

from optuna_llm import AsyncTrial, ask_async, optimize_async
from optuna_llm.engine.study.attributes import worker_of
from optuna_llm.engine.table import rows_of

ENQUEUED = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}


class Together:
    """An objective that ends when as many trials run as were wanted; `seen` has which of them ran at once."""

    def __init__(self, study: optuna.Study, wanted: int) -> None:
        self._study = study
        self._wanted = wanted
        self._running: set[int] = set()
        self._full = anyio.Event()
        self.seen: list[set[int]] = []

    async def __call__(self, trial: AsyncTrial) -> float:
        self._running.add(trial.number)
        if len(self._running) == self._wanted:
            self.seen.append(set(self._running))
            self._full.set()
            self._full = anyio.Event()
        else:
            await self._full.wait()
        self._running.discard(trial.number)
        return 1.0


def optimize(study: optuna.Study, objective: Any, **options: Any) -> None:
    anyio.run(lambda: optimize_async(study, objective, search_space=SPACE, **options))


@pytest.mark.parametrize("prefetch", [0, 3])
def test_trials_that_run_at_once_are_of_different_workers(prefetch: int) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    together = Together(study, 3)
    optimize(study, together, n_trials=12, n_workers=3, prefetch=prefetch)
    worker = {trial.number: trial.user_attrs["llm"]["worker"] for trial in study.trials}
    assert len(together.seen) == 4
    assert all({worker[number] for number in numbers} == {0, 1, 2} for numbers in together.seen)


def test_a_worker_that_is_free_again_runs_the_next_trial() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    last = anyio.Event()

    async def objective(trial: AsyncTrial) -> float:
        if trial.number == 0:
            await last.wait()
        if trial.number == 4:
            last.set()
        return 1.0

    optimize(study, objective, n_trials=5, n_workers=2)
    assert [trial.user_attrs["llm"]["worker"] for trial in study.trials] == [0, 1, 1, 1, 1]


def test_trials_of_other_samplers_and_enqueued_ones_have_a_worker_too(tmp_path: Path) -> None:
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.log"))),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.enqueue_trial(ENQUEUED)
    optimize(study, Together(study, 2), n_trials=4, n_workers=2)
    study.sampler = sampler(SchemaModel())
    study.enqueue_trial(ENQUEUED)
    study.enqueue_trial({"lr": 0.02})
    optimize(study, Together(study, 2), n_trials=2, n_workers=2)
    assert Counter(map(worker_of, study.trials)) == {0: 3, 1: 3}
    assert "llm" not in study.trials[4].user_attrs  # nothing was proposed: its worker stands beside its run
    assert study.trials[5].user_attrs["llm"]["worker"] == worker_of(study.trials[5])


def test_a_retry_has_the_worker_that_ran_it_and_not_the_one_before() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    hold, failed_once = anyio.Event(), anyio.Event()

    async def objective(trial: AsyncTrial) -> float:
        if trial.number == 1:
            failed_once.set()
            raise ValueError("no luck")
        if trial.number == 0:
            await failed_once.wait()
            await hold.wait()
        else:
            hold.set()
        return 1.0

    optimize(study, objective, n_trials=3, n_workers=2, retries=1, catch=(ValueError,))
    first, failed, retry = study.trials
    assert retry.system_attrs["retry_history"] == [1]
    assert [worker_of(trial) for trial in (first, failed, retry)] == [0, 1, 1]
    assert study.trials[2].user_attrs["llm"]["worker"] is None


def test_who_asks_without_a_run_has_no_worker_and_a_table_of_old_trials_none() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    (asked,) = anyio.run(lambda: ask_async(study, search_space=SPACE))
    study.tell(asked, 1.0)
    study.add_trial(create_trial(value=2.0, user_attrs={"llm": {"model": "m", "run": "r"}}))
    assert "worker" not in study.trials[0].user_attrs["llm"]
    optimize(study, lambda trial: 1.0, n_trials=1)
    assert [row["worker"] for row in rows_of(study)] == [None, None, 0]


@pytest.mark.parametrize("worker", ["first", -1, None, True, [0], 1e400])
def test_a_worker_that_is_no_number_is_unknown(worker: Any) -> None:
    def trial(**attributes: Any) -> FrozenTrial:
        return create_trial(state=TrialState.RUNNING, **attributes)

    assert worker_of(trial(user_attrs={"llm": {"worker": worker}})) is None
    assert worker_of(trial(system_attrs={"optuna_llm:worker": worker})) is None
    assert worker_of(trial(system_attrs={"optuna_llm:worker": 2})) == 2
