"""A real database that is restarted in the middle of a run costs no result."""

import threading
from collections.abc import Callable
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from support import SPACE, SchemaModel, optimize_with, sampler

from optuna_llm import AsyncTrial

N_TRIALS = 24
OUTAGE = 7  # the number of the trial in which the server ends


class Watched(RDBStorage):
    """Says when one of its calls has failed."""

    failed = threading.Event()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith(("get_", "set_", "create_")):
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return found(*args, **kwargs)
            except Exception:
                Watched.failed.set()
                raise

        return called


@pytest.mark.slow
@pytest.mark.parametrize("threads", [False, True])
def test_a_database_that_is_restarted_in_mid_run_costs_no_finished_result(
    postgresql: str, stop_postgresql: Callable[[], Callable[[], None]], threads: bool
) -> None:
    Watched.failed.clear()
    returned: dict[int, float] = {}
    restarted = threading.Event()

    def restart() -> None:
        start = stop_postgresql()
        assert Watched.failed.wait(30)
        start()
        restarted.set()

    def finish(trial: Any) -> float:
        returned[trial.number] = 100.0 + trial.number
        return returned[trial.number]

    async def objective(trial: AsyncTrial) -> float:
        trial.report(0.5, step=1)
        if trial.number == OUTAGE:
            await anyio.to_thread.run_sync(restart)
        trial.report(0.25, step=2)
        trial.set_user_attr("epochs", 2)
        return finish(trial)

    def plain(trial: optuna.Trial) -> float:
        trial.report(0.5, step=1)
        if trial.number == OUTAGE:
            restart()
        trial.report(0.25, step=2)
        trial.set_user_attr("epochs", 2)
        return finish(trial)

    study = optuna.create_study(storage=Watched(postgresql), sampler=sampler(SchemaModel()))
    optimize = optimize_with(first_pause=0.05)
    options = {"n_workers": 4, "n_trials": N_TRIALS, "search_space": SPACE}
    anyio.run(lambda: optimize(study, plain if threads else objective, **options))
    assert restarted.is_set()
    trials = study.trials
    assert {trial.number: trial.value for trial in trials if trial.state is TrialState.COMPLETE} == returned
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert all(trial.intermediate_values == {1: 0.5, 2: 0.25} for trial in trials)
    assert all(trial.user_attrs["epochs"] == 2 for trial in trials)
