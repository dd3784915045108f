"""A sampler asks about each study through one proposer, whichever thread comes first."""

import sys
import threading
from collections.abc import Iterator

import optuna
import pytest
from optuna.trial import create_trial
from support import SPACE, SchemaModel, sampler

from optuna_llm import Budget
from optuna_llm.engine.study.door import StudyDoor

THREADS = 8


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that take turns after every few steps, so that what can go wrong between two steps does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient_threads")
def test_threads_that_meet_at_a_study_share_what_is_in_flight_and_their_budget_counts_what_it_has_cost() -> None:
    for _ in range(60):
        study = optuna.create_study()
        study.add_trials([create_trial(value=1.0, user_attrs={"llm": {"calls": 1}}) for _ in range(12)])
        model = sampler(SchemaModel(), search_space=SPACE, budget=Budget(requests=100))
        barrier, doors = threading.Barrier(THREADS, timeout=30), list[StudyDoor]()

        def meet(study: optuna.Study = study, model=model, barrier=barrier, doors=doors) -> None:  # type: ignore[no-untyped-def]
            barrier.wait()
            doors.append(model.door(study))

        threads = [threading.Thread(target=meet) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        doors[0].refresh()
        assert len({id(door.state) for door in doors}) == 1
        assert model._account.statistics().elsewhere.requests == 12
