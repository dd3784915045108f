"""Who lives, who is dead, and what becomes of the trials of the dead."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from support import SPACE, SchemaModel, llm_sampler, sampler

from optuna_llm import AsyncTrial, RunReport, UsageError, ask_async, optimize_async
from optuna_llm.engine.fleet import lease_keeper
from optuna_llm.engine.fleet.lease_keeper import LeaseKeeper
from optuna_llm.engine.fleet.leases import LEASE_REFRESH, Lease, Watch, leased, leases_in, share_of
from optuna_llm.engine.fleet.runs import end_document
from optuna_llm.engine.process import Process, this_process
from optuna_llm.engine.records import Share
from optuna_llm.engine.run import loop
from optuna_llm.engine.study.attributes import run_of
from optuna_llm.engine.study.door import StudyDoor

HERE = this_process()
ELSEWHERE = Process(host="elsewhere", pid=1, started="1")
END = end_document(stop_reason="stop", seconds=1.0, n_complete=1, n_pruned=0, n_failed=0)
DEAD = Process(host=HERE.host, pid=HERE.pid, started="before this one")


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    if request.param == "journal":
        yield JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        return
    rdb = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    yield rdb
    rdb.engine.dispose()


def lease(process: Process, at: float = 1000.0, **more: Any) -> Lease:
    return Lease(run="r", process=process, at=at, **more)


def watched(watch: Watch, kept: Lease, begin: float, end: float) -> bool:
    """Whether a run lives after it was looked at every 15 s, as often as a keeper does."""
    ticks = begin
    while ticks < end:
        watch.living([kept], ticks=ticks)
        ticks += LEASE_REFRESH
    return watch.living([kept], ticks=end)["r"]


def test_on_one_host_the_process_decides_at_once() -> None:
    watch = Watch()
    assert watch.living([lease(HERE, at=0.0)], ticks=0.0) == {"r": True}
    assert watch.living([lease(DEAD, at=1e9)], ticks=0.0) == {"r": False}


@pytest.mark.parametrize("at", [0.0, 1000.0, 1e9])  # of a clock that is far behind, as ours, far ahead
def test_of_another_host_what_does_not_change_for_a_minute_is_over(at: float) -> None:
    watch = Watch()
    assert watched(watch, lease(ELSEWHERE, at=at), 0.0, 59.0)
    assert not watched(watch, lease(ELSEWHERE, at=at), 59.5, 60.0)


@pytest.mark.parametrize("behind", [-7200.0, -300.0, 0.0, 300.0, 7200.0])
@pytest.mark.parametrize("late", [15.0, 45.0])  # a slow storage delays two refreshes of three
def test_clocks_that_differ_kill_nobody(behind: float, late: float) -> None:
    watch = Watch()
    for beat in range(10):
        written = lease(ELSEWHERE, at=10_000.0 - behind + late * beat)
        assert watched(watch, written, late * beat, late * (beat + 1) - 1)


def test_a_clock_that_is_set_back_kills_nobody() -> None:
    watch = Watch()
    for beat, at in enumerate([1000.0, 1015.0, 400.0, 415.0]):
        assert watched(watch, lease(ELSEWHERE, at=at), 50.0 * beat, 50.0 * beat + 49)


@pytest.mark.parametrize("hours", [0.03, 1.0, 48.0])
def test_who_stood_still_does_not_take_the_others_for_dead(hours: float) -> None:
    """A group of containers is paused and goes on: one of them looks first."""
    watch, kept = Watch(), lease(ELSEWHERE)
    assert watched(watch, kept, 0.0, 15.0)
    later = 15.0 + 3600 * hours
    assert watch.living([kept], ticks=later) == {"r": True}
    assert not watched(watch, kept, later, later + 45)


def test_readings_that_come_in_another_order_count_no_time_twice() -> None:
    watch, kept = Watch(), lease(ELSEWHERE)
    for ticks in (0.0, 20.0, 10.0, 20.0, 10.0, 20.0, 40.0, 25.0, 59.0):
        assert watch.living([kept], ticks=ticks) == {"r": True}


def test_leases_survive_the_study_and_what_is_no_lease_is_passed_over() -> None:
    kept = lease(ELSEWHERE, model="m", taking=(3, 4))
    attributes = {kept.name: kept.document(), "llm_run:x": {"host": 1}, "llm_run:y": None, "other": {}}
    assert list(leases_in(attributes)) == [kept]
    (read,) = leases_in({"llm_run:e": END})
    assert read.ended
    assert Watch().living([read], ticks=0.0) == {"e": False}


def test_a_trial_is_leased_by_its_run_or_by_the_one_that_takes_it() -> None:
    def running(number: int, **llm: Any) -> Any:
        trial = create_trial(state=TrialState.RUNNING, user_attrs={"llm": llm} if llm else {})
        trial.number = number
        return trial

    trials = [running(0), running(1, run="dead"), running(2, run="alive"), running(3, run="no lease"), running(4)]
    leases = [Lease(run=run, process=HERE, at=0.0, taking=(4,) * (run == "dead")) for run in ("dead", "alive")]
    # 4 was about to be taken, and could not be signed
    assert [trial.number for trial in leased(trials, leases[:1])] == [1, 4]
    assert [trial.number for trial in leased(trials, leases)] == [1, 2, 4]


def test_each_living_process_has_a_place_among_those_that_keep_leases() -> None:
    other, gone = Process(host="b", pid=2, started=""), Process(host="c", pid=3, started="")
    leases = [
        Lease(run=run, process=process, at=0.0, model=model)
        for run, process, model in [
            ("1", HERE, "m"),
            ("2", HERE, "m"),
            ("3", other, "m"),
            ("4", other, "another"),
            ("5", gone, "m"),
        ]
    ]
    living = {"1": True, "2": True, "3": True, "4": True, "5": False}
    assert share_of(HERE, [], living) == Share(place=0, processes=1)
    both = {process: share_of(process, leases, living) for process in (HERE, other)}
    assert {share.processes for share in both.values()} == {2}
    assert {share.place for share in both.values()} == {0, 1}


def test_rates_are_divided_by_processes_that_ask_the_same_model_and_the_study_by_all() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    door = llm_sampler(study).door(study)
    limiter = llm_sampler(study)._stack.limiter
    kept = LeaseKeeper(door, run=uuid.uuid4().hex, model="m")
    for host, model in (("b", "m"), ("c", "another"), ("d", None)):
        other = Lease(run=host, process=Process(host=host, pid=2, started=""), at=time.time(), model=model)
        study._storage.set_study_user_attr(study._study_id, other.name, other.document())
    kept.start()
    assert limiter.processes == 2
    assert door.snapshot().share.processes == 4
    assert door.sharing.was_shared
    kept.stop(END)
    assert limiter.processes == 1
    assert door.snapshot().share == Share()


def test_a_reading_of_the_study_judges_the_leases_that_it_brings() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    door = llm_sampler(study).door(study)
    kept = LeaseKeeper(door, run=uuid.uuid4().hex, model="m")
    kept.start()
    other = Lease(run="b", process=Process(host="b", pid=2, started=""), at=time.time(), model="m")
    study._storage.set_study_user_attr(study._study_id, other.name, other.document())
    assert door.refresh().share.processes == 1  # who reads without a lease judges nobody
    kept.refresh()
    assert door.snapshot().share.processes == 2
    kept.stop(END)
    kept.refresh()
    assert door.snapshot().share.processes == 1


def test_a_run_whose_end_is_stored_is_remembered_nowhere_else() -> None:
    study = optuna.create_study()
    kept = LeaseKeeper(StudyDoor(study), run=uuid.uuid4().hex)
    kept.start()
    kept.retire()
    assert kept.run in lease_keeper._ended
    kept.stop(END)
    assert kept.run not in lease_keeper._ended


def dead_run(study: optuna.Study, run: str = "dead") -> None:
    left = Lease(run=run, process=DEAD, at=0.0)
    study._storage.set_study_user_attr(study._study_id, left.name, left.document())


def test_a_run_ends_what_the_dead_left_and_nothing_foreign(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    foreign = study.ask()
    params = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}
    template = create_trial(
        state=TrialState.RUNNING, params=params, distributions=SPACE, user_attrs={"llm": {"run": "dead"}}
    )
    study.add_trial(template)
    dead_run(study)

    async def objective(trial: AsyncTrial) -> float:
        await anyio.lowlevel.checkpoint()
        return 1.0

    report = anyio.run(
        lambda: optimize_async(study, objective, total_trials=4, n_workers=2, search_space=SPACE, retries=1)
    )
    states = [trial.state.name for trial in study.trials]
    assert states[foreign.number] == "RUNNING"
    assert states[1] == "FAIL"
    assert study.trials[1].user_attrs["failure"]["type"] == "RunDied"
    assert study.trials[2].params == params  # tried anew
    assert study.trials[2].system_attrs["retry_history"] == [1]
    assert states.count("COMPLETE") == 3  # the foreign one holds a place, and is not waited for
    assert report.stop_reason == "occupied"
    study.tell(foreign, 1.0)
    again = anyio.run(lambda: optimize_async(study, objective, total_trials=4, search_space=SPACE))
    assert again.n_complete == 0
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 4


def running_elsewhere(study: optuna.Study, run: str, params: dict[str, Any]) -> None:
    alive = Lease(run=run, process=HERE, at=0.0)
    study._storage.set_study_user_attr(study._study_id, alive.name, alive.document())
    attribute = {"llm": {"run": run}}
    study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=SPACE, user_attrs=attribute))


ELSEWHERE_PARAMS = {"lr": 0.01, "momentum": 0.5, "layers": 3, "optimizer": "adam"}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_place_that_a_run_held_when_it_died_is_taken_by_who_hears_of_its_death(
    storage: BaseStorage, retries: int
) -> None:
    """Whoever asks hears of a death before the next look at the dead one's trials is due."""
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    running_elsewhere(study, "other", ELSEWHERE_PARAMS)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 2:
            dead_run(study, "other")
        return 1.0

    report = anyio.run(
        lambda: optimize_async(study, objective, total_trials=3, n_workers=1, search_space=SPACE, retries=retries)
    )
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert study.trials[0].user_attrs["failure"]["type"] == "RunDied"
    assert (study.trials[3].params == ELSEWHERE_PARAMS) == bool(retries)
    assert report.stop_reason == "total_trials"


def test_a_run_that_joined_since_the_last_look_is_waited_for(
    storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    look = LeaseKeeper.reap_dead

    def look_and_let_it_die(self: LeaseKeeper) -> int:
        reaped = look(self)
        if any(run_of(trial) == "joined" for trial in study.trials):
            dead_run(study, "joined")
        return reaped

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            running_elsewhere(study, "joined", ELSEWHERE_PARAMS)
        return 1.0

    monkeypatch.setattr(LeaseKeeper, "reap_dead", look_and_let_it_die)
    monkeypatch.setattr(loop, "RECHECK_SECONDS", 0.0)
    anyio.run(lambda: optimize_async(study, objective, total_trials=2, n_workers=1, search_space=SPACE))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_result_that_comes_after_its_trial_was_given_up_is_kept(
    storage: BaseStorage, room: bool, retries: int
) -> None:
    """Another engine thinks that we are dead, as it may of a process that was stopped for long."""
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    other = LeaseKeeper(StudyDoor(study), run="other", retries=retries)

    def objective(trial: optuna.Trial) -> float:
        dead_run(study, study.trials[0].user_attrs["llm"]["run"])
        if not room:
            study.add_trial(create_trial(state=TrialState.COMPLETE, value=9.0))
        assert other.reap_dead() == 1
        assert study.trials[0].state is TrialState.FAIL
        return 4.5

    total = 3 if room else 1
    anyio.run(
        lambda: optimize_async(
            study, objective, n_trials=1, total_trials=total, n_workers=1, search_space=SPACE, retries=retries
        )
    )
    holder = next(trial for trial in study.trials if trial.user_attrs.get("late_result_of") == 0)
    assert holder.user_attrs["late_value"] == 4.5
    assert holder.params == study.trials[0].params
    assert [trial.state.name for trial in study.trials].count("RUNNING") == 0
    if room:
        assert (holder.state, holder.value) == (TrialState.COMPLETE, 4.5)
        assert len(study.trials) == 2  # a retry that was enqueued is that trial: nothing is evaluated twice
    else:
        assert holder.state is TrialState.FAIL
        assert "4.5" in holder.user_attrs["failure"]["message"]


def test_a_retry_bears_no_run_until_it_is_taken(storage: BaseStorage) -> None:
    """Else whoever looks in that moment would think it the dead one's still."""
    study = optuna.create_study(storage=storage)
    system_attrs = {"optuna_llm:run": "dead"}
    template = create_trial(state=TrialState.RUNNING, user_attrs={"llm": {"run": "dead"}}, system_attrs=system_attrs)
    study.add_trial(template)
    dead_run(study)
    assert LeaseKeeper(StudyDoor(study), run="r", retries=1).reap_dead() == 1
    waiting = study.trials[1]
    assert (waiting.state, run_of(waiting)) == (TrialState.WAITING, None)


def test_in_memory_a_trial_that_nobody_runs_is_not_waited_for() -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    (asked,) = anyio.run(lambda: ask_async(study, search_space=SPACE))

    async def objective(trial: AsyncTrial) -> float:
        await anyio.lowlevel.checkpoint()
        if trial.number == 1:
            raise ValueError
        return 1.0

    report = anyio.run(
        lambda: optimize_async(study, objective, total_trials=3, n_workers=3, search_space=SPACE, catch=ValueError)
    )
    assert (report.n_complete, report.n_failed) == (2, 1)  # the place of the failed one was taken
    study.tell(asked, 1.0)
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 3


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_a_total_is_a_whole_number(wrong: Any) -> None:
    study = optuna.create_study(sampler=sampler(SchemaModel()))
    with pytest.raises(UsageError, match="total_trials"):
        anyio.run(lambda: optimize_async(study, lambda _: 1.0, total_trials=wrong))


def test_two_runs_take_one_enqueued_trial_once(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    one, other = (LeaseKeeper(StudyDoor(study), run=run) for run in ("a", "b"))
    assert one.may_take(0, lambda: True)
    assert not other.may_take(0, lambda: True)  # it sees the other's word, and gives way
    one.forget_taking(0)
    one.write()
    assert other.may_take(0, lambda: True)
    waits = iter([True, True, False])
    assert not one.may_take(0, lambda: next(waits))  # the smaller id waits until it is taken


def test_a_run_that_has_ended_holds_nothing_although_its_process_lives_and_nobody_could_be_told(
    storage: BaseStorage,
) -> None:
    study = optuna.create_study(storage=storage)
    ended, other = (LeaseKeeper(StudyDoor(study), run=uuid.uuid4().hex) for _ in range(2))
    ended.start()
    attribute = {"llm": {"run": ended.run}}
    template = create_trial(
        state=TrialState.RUNNING, params=ELSEWHERE_PARAMS, distributions=SPACE, user_attrs=attribute
    )
    study.add_trial(template)
    assert other.reap_dead() == 0
    ended.retire()  # the storage does not answer: its lease stays as it is
    assert other.reap_dead() == 1
    assert study.trials[0].user_attrs["failure"]["type"] == "RunDied"


def test_a_foreign_trial_is_not_waited_for_although_more_is_enqueued_than_has_a_place(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))
    foreign = study.ask()
    for layers in (1, 3, 5, 7):
        study.enqueue_trial({"layers": layers})

    async def objective(trial: AsyncTrial) -> float:
        await anyio.lowlevel.checkpoint()
        return 1.0

    async def run() -> RunReport:
        with anyio.fail_after(30):
            return await optimize_async(study, objective, total_trials=3, search_space=SPACE)

    report = anyio.run(run)
    assert report.stop_reason == "occupied"
    states = [trial.state.name for trial in study.trials]
    assert states == ["RUNNING", "COMPLETE", "COMPLETE", "WAITING", "WAITING"]
    assert study.trials[foreign.number].state is TrialState.RUNNING


LEASE = {"host": "h", "pid": 1, "started": "1", "at": 9.0, "model": None, "taking": []}
OF_ANOTHER_TYPE: list[dict[str, Any]] = [
    {"host": None},
    {"pid": "1"},
    {"pid": float("inf")},
    {"pid": [1]},
    {"started": 1},
    {"at": float("nan")},
    {"at": "now"},
    {"model": ["m"]},
]


@pytest.mark.parametrize("wrong", OF_ANOTHER_TYPE, ids=str)
def test_a_lease_with_a_part_of_another_type_is_none(wrong: dict[str, Any]) -> None:
    assert list(leases_in({"llm_run:r": {**LEASE, **wrong}})) == []


@pytest.mark.parametrize("more", [{"newer": 1}, {"taking": None}, {"taking": "no"}, {"taking": [None, {}, "3", True]}])
def test_a_lease_of_a_newer_version_is_read_as_far_as_it_is_known(more: dict[str, Any]) -> None:
    (read,) = leases_in({"llm_run:r": {**LEASE, **more}})
    assert (read.process.host, read.at, read.taking) == ("h", 9.0, ())
