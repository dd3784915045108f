"""What was spent without a trial is in the study before anything depends on it, for others and after a kill."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from member_storage import opened
from support import SPACE, SchemaModel, Script, llm_sampler, sampler

from optuna_llm import (
    AsyncTrial,
    Budget,
    ClientError,
    Limits,
    OptunaLLMError,
    Request,
    ThrottledError,
    TransientError,
    optimize_async,
)
from optuna_llm.engine.fleet.lease_keeper import LeaseKeeper
from optuna_llm.engine.fleet.leases import Lease
from optuna_llm.engine.process import Process
from optuna_llm.engine.study import state
from optuna_llm.engine.study.attributes import untracked_charges
from optuna_llm.engine.study.door import StudyDoor
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.limits import bookkeeping, retrying_client
from optuna_llm.samplers.limits.bookkeeping import Books

NEVER = 3600.0
FLOAT = optuna.distributions.FloatDistribution(0, 1)


def opened_study(url: str, **options: Any) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=opened(url), load_if_exists=True, **options)


def without_trial(url: str) -> int:
    """Requests that the study, as another process reads it, says were spent without a trial."""
    charges = untracked_charges(opened_study(url).user_attrs)
    return sum(charge.requests for charge in charges.values())


def run(study: optuna.Study, n_trials: int = 5, **options: Any) -> Any:
    return anyio.run(lambda: optimize_async(study, lambda _: 0.0, n_trials=n_trials, search_space=SPACE, **options))


def soon(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Write at once what would be written within seconds; the event is set once something was."""
    written, save = threading.Event(), StudyDoor.save_spending

    def saving(door: StudyDoor) -> bool:
        due = door.spending.unsaved() is not None
        saved = save(door)
        if due and saved:
            written.set()
        return saved

    monkeypatch.setattr(StudyDoor, "save_spending", saving)
    monkeypatch.setattr(state, "ABOUT_TO_SECONDS", 0.0)
    monkeypatch.setattr(bookkeeping, "ABOUT_TO_SECONDS", 0.01)
    return written


@pytest.fixture(params=["journal:{}/journal.log", "sqlite:///{}/study.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.mark.parametrize(
    "useless", ["I would try less.", TransientError("down", retry_after=0.0), '{"lr": "much"}'], ids=type
)
def test_no_request_leaves_before_those_before_it_are_in_the_study(
    url: str, useless: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying_client, "BASE_SECONDS", 0.0)
    seen: list[int] = []

    async def model(_: Request) -> Any:
        seen.append(await anyio.to_thread.run_sync(without_trial, url))
        if isinstance(useless, Exception):
            raise useless
        return useless

    study = opened_study(url, sampler=sampler(model, budget=Budget(requests=9)))
    with pytest.raises(OptunaLLMError):
        run(study, max_failed_proposals=2, patience=0)
    assert seen == list(range(len(seen)))
    assert without_trial(url) == len(seen) == 6


def test_without_a_budget_it_is_in_the_study_while_its_ask_still_waits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = soon(monkeypatch)
    study = opened_study(url, sampler=sampler(Script(TransientError("down", retry_after=30.0))))

    async def main() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: optimize_async(study, lambda _: 0.0, n_trials=1, search_space=SPACE))
            assert await anyio.to_thread.run_sync(written.wait, 20)
            spent = await anyio.to_thread.run_sync(without_trial, url)
            group.cancel_scope.cancel()
        return spent

    assert anyio.run(main) == 1


def test_a_proposal_that_waits_for_a_worker_is_in_the_study_until_its_trial_is(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = soon(monkeypatch)
    waited: list[int] = []

    def settled() -> int:
        """On a slow machine the first one was written as well, and is taken back soon."""
        ends = time.monotonic() + 20
        while (count := without_trial(url)) != 1 and time.monotonic() < ends:
            time.sleep(0.01)
        return count

    async def objective(_: AsyncTrial) -> float:
        if not waited:
            assert await anyio.to_thread.run_sync(written.wait, 20)
            waited.append(await anyio.to_thread.run_sync(settled))
        return 0.0

    study = opened_study(url, sampler=sampler(SchemaModel()))
    anyio.run(lambda: optimize_async(study, objective, n_trials=3, prefetch=1, search_space=SPACE))
    assert waited == [1]
    assert without_trial(url) == 0
    assert sum(trial.user_attrs["llm"]["calls"] for trial in study.trials) == 3


def test_what_becomes_a_trial_at_once_is_written_with_it_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ABOUT_TO_SECONDS", NEVER)
    study = opened_study(url, sampler=sampler(SchemaModel(), budget=Budget(requests=99)))
    assert run(study, 6, n_workers=3).n_complete == 6
    assert not untracked_charges(opened_study(url).user_attrs)


def test_a_trial_takes_over_what_its_refused_replies_took(url: str) -> None:
    study = opened_study(url, sampler=sampler(Script("no", "no", SchemaModel()), budget=Budget(requests=99)))
    assert run(study, 1).llm_calls == 3
    assert without_trial(url) == 0
    again = opened_study(url, sampler=sampler(SchemaModel(), budget=Budget(requests=5)))
    assert run(again, 9).n_complete == 2


CHILD = """
import os, signal, sys
import anyio
from support import SPACE, sampler
from member_storage import opened
import optuna
from optuna_llm import Budget, optimize_async

url, bill, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
sent = 0


def model(request):
    global sent
    sent += 1
    with open(bill, "a") as file:
        file.write("x")
    if sent == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return "I would try something smaller."


study = optuna.create_study(study_name="s", storage=opened(url), load_if_exists=True)
study.sampler = sampler(model, budget=Budget(requests=20))
anyio.run(lambda: optimize_async(study, lambda _: 0.0, n_trials=9, search_space=SPACE, max_failed_proposals=99))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal:{}/journal.log", "sqlite:///{}/study.db"])
def test_a_kill_forgets_no_more_than_what_was_in_flight(kind: str, tmp_path: Path) -> None:
    url, bill = kind.format(tmp_path), tmp_path / "bill"
    tests = str(Path(__file__).parents[2])
    codes = []
    for last in (3, 8, 99):
        code = f"import sys; sys.path.insert(0, {tests!r})\n{CHILD}"
        command = [sys.executable, "-c", code, url, str(bill), str(last)]
        codes.append(subprocess.run(command, capture_output=True, timeout=120, check=False).returncode)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert len(bill.read_text()) == 22  # 20, and one in flight at each kill


@pytest.mark.parametrize("n_processes", [2, 3])
def test_others_that_spend_at_the_same_time_overshoot_by_what_is_in_flight(n_processes: int, tmp_path: Path) -> None:
    url, sent, workers = f"journal:{tmp_path}/journal.log", 0, 2

    async def model(_: Request) -> str:
        nonlocal sent
        sent += 1
        await anyio.sleep(2 * bookkeeping.BUDGET_AGE)  # a request takes longer than a reading is old
        return "no"

    async def member() -> None:
        own = sampler(lambda request: model(request), budget=Budget(requests=30))
        study = optuna.load_study(study_name="s", storage=opened(url), sampler=own)
        options: dict[str, Any] = {"n_workers": workers, "max_failed_proposals": 999}
        report = await optimize_async(study, lambda _: 0.0, n_trials=99, search_space=SPACE, **options)
        assert report.stop_reason == "budget"

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(n_processes):
                group.start_soon(member)

    opened_study(url)
    anyio.run(main)
    assert 30 <= sent <= 30 + n_processes * workers


def test_a_storage_that_takes_no_spending_is_tried_again_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = soon(monkeypatch)
    url = f"journal:{tmp_path}/journal.log"
    study = opened_study(url, sampler=sampler(Script("no")))
    door = llm_sampler(study).door(study)
    write, failures = StudyDoor.write_attribute, [OSError("full"), OSError("full")]

    def full(self: StudyDoor, name: str, value: Any) -> None:
        if failures and name.startswith("llm_spending:"):
            raise failures.pop()
        write(self, name, value)

    monkeypatch.setattr(StudyDoor, "write_attribute", full)

    async def main() -> None:
        with pytest.raises(OptunaLLMError):
            await llm_sampler(study).propose_one(door, search_space=SPACE)
        assert await anyio.to_thread.run_sync(written.wait, 20)

    anyio.run(main)
    assert not failures
    assert without_trial(url) == 3


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=60), Limits(tokens_per_minute=1e6), Limits()])
def test_rates_are_divided_as_soon_as_another_process_is_there(limits: Limits, tmp_path: Path) -> None:
    study = opened_study(f"journal:{tmp_path}/journal.log", sampler=sampler(SchemaModel(), limits=limits))
    own = llm_sampler(study)
    door, limiter = own.door(study), own._stack.limiter
    keeper = LeaseKeeper(door, run=uuid.uuid4().hex, model=own.model)
    keeper.start()
    books = Books(own._account, limiter)
    other = Lease(run="b", process=Process(host="b", pid=2, started=""), at=time.time(), model=own.model)
    door.write_attribute(other.name, other.document())
    run_sync(partial(books.balance, door))
    assert limiter.processes == 1  # a reading of this second is good enough
    door.state.read_at -= 2 * bookkeeping.RATES_AGE
    run_sync(partial(books.balance, door))
    assert limiter.processes == (2 if limits != Limits() else 1)  # nothing to divide, nothing to read
    keeper.stop({"ended": True})


def test_books_say_where_they_stand(tmp_path: Path) -> None:
    study = opened_study(f"journal:{tmp_path}/journal.log", sampler=sampler(SchemaModel()))
    books = llm_sampler(study)._proposer(study)._books
    assert "saving=False" in repr(books)


@pytest.mark.parametrize("error", [ClientError("odd", status=400), ThrottledError("slow down", retry_after=500.0)])
def test_a_request_that_failed_under_study_optimize_is_in_the_study_when_it_raises(
    error: Exception, tmp_path: Path
) -> None:
    study = optuna.create_study(
        study_name="s", storage=opened(f"journal:{tmp_path}/journal.log"), sampler=sampler(Script(error))
    )
    study.add_trial(optuna.trial.create_trial(value=1.0, params={"x": 0.5}, distributions={"x": FLOAT}))
    with pytest.raises(OptunaLLMError):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert without_trial(f"journal:{tmp_path}/journal.log") == 1
