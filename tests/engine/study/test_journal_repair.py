"""A journal file survives a process that dies in mid-write, or with the lock in its hands."""

import errno
import functools
import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock
from support import SPACE, SchemaModel, optimize_with, sampler

from optuna_llm import OptunaLLMError, optimize_async
from optuna_llm.engine import process
from optuna_llm.engine.process import Process, this_host, this_process
from optuna_llm.engine.study import journal_owners
from optuna_llm.engine.study.journal_owners import LockWait, owner_file
from optuna_llm.engine.study.journal_repair import MendingLock, guard_journal, tidy_journal

LOCKS = [JournalFileSymlinkLock, JournalFileOpenLock]


def opened(path: Path, kind: Any = JournalFileSymlinkLock) -> JournalStorage:
    storage = JournalStorage(JournalFileBackend(str(path), lock_obj=kind(str(path))))
    guard_journal(storage)
    tidy_journal(storage)
    return storage


def told(storage: JournalStorage, *values: float) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    for value in values:
        study.tell(study.ask(), value)
    return study


def test_cut_at_every_byte_of_its_last_record_a_journal_goes_on(tmp_path: Path, caplog: Any) -> None:
    whole = tmp_path / "whole.log"
    told(opened(whole), 1.0, 2.0)
    content = whole.read_bytes()
    last = content.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(content)):
        path = tmp_path / f"{cut}.log"
        path.write_bytes(content[:cut])
        caplog.clear()
        study = told(opened(path), 3.0)
        states = [(trial.state.name, trial.value) for trial in study.trials]
        kept = cut == len(content) - 1  # all but the end of its line
        assert states == [("COMPLETE", 1.0), ("COMPLETE", 2.0) if kept else ("RUNNING", None), ("COMPLETE", 3.0)]
        lines = path.read_bytes().splitlines(keepends=True)
        assert all(line.endswith(b"\n") and json.loads(line) for line in lines)
        backups = list(tmp_path.glob(f"{cut}.log.torn-*"))
        assert len(backups) == (not kept and cut > last)
        for backup in backups:
            assert content[:last] + backup.read_bytes() == content[:cut]
        assert [record.levelname for record in caplog.records if "journal file" in record.message] == ["WARNING"] * (
            cut > last
        )


def test_a_script_that_is_started_again_on_a_torn_journal_goes_on(tmp_path: Path, caplog: Any) -> None:
    """Its own `create_study` writes on the torn line before the library sees the study."""
    path = tmp_path / "study.log"
    told(opened(path), 1.0, 2.0)
    content = path.read_bytes()
    last = content.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last + 1, len(content) - 1, 7):
        path.write_bytes(content[:cut])
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(
            study_name="s", storage=storage, load_if_exists=True, sampler=sampler(SchemaModel())
        )
        anyio.run(lambda study=study: optimize_async(study, lambda _: 3.0, n_trials=1, search_space=SPACE))  # type: ignore[misc]
        assert [trial.value for trial in told(opened(path)).trials] == [1.0, None, 3.0]
        backups = list(tmp_path.glob("study.log.torn-*"))
        assert [backup.read_bytes() for backup in backups] == [content[last:cut]]
        backups[0].unlink()
    assert "of a torn line" in caplog.text


def test_what_runs_meanwhile_goes_on_over_the_repair(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    one, other = told(opened(path), 1.0), told(opened(path), 2.0)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    for study in (one, other, one):
        study.tell(study.ask(), 5.0)
    assert [trial.value for trial in one.trials] == [trial.value for trial in other.trials] == [1.0, 2.0, 5.0, 5.0, 5.0]


DIES_INSIDE = """
import os, sys
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages import JournalStorage
from optuna_llm.engine.study.journal_repair import guard_journal
path, kind = sys.argv[1:]
lock = {"Symlink": JournalFileSymlinkLock, "Open": JournalFileOpenLock}[kind](path)
storage = JournalStorage(JournalFileBackend(path, lock_obj=lock))
guard_journal(storage)
storage._backend._lock.acquire()
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_whose_owner_was_killed_is_taken_over_at_once(tmp_path: Path, kind: Any, caplog: Any) -> None:
    path = tmp_path / "study.log"
    patient = functools.partial(kind, grace_period=None)  # alone it would wait for ever
    told(opened(path, patient), 1.0)
    name = "Symlink" if kind is JournalFileSymlinkLock else "Open"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", DIES_INSIDE, str(path), name], check=False, timeout=60)
        assert killed.returncode == -9
        assert os.path.lexists(f"{path}.lock")
        study = told(opened(path, patient), 2.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0, 2.0]
    assert "process that held it died" in caplog.text
    opened(path, patient)
    assert [file.name for file in tmp_path.glob("*.owner-*")] == [
        f"study.log.lock.owner-{os.uname().nodename}-{os.getpid()}"
    ]


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_of_the_living_is_waited_for(tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.log"
    path.touch()
    one, other = (MendingLock(str(path), kind(str(path))) for _ in range(2))
    waits, entered = threading.Event(), threading.Event()
    sleep = LockWait.sleep

    def sleep_and_say(wait: LockWait) -> None:
        waits.set()
        sleep(wait)

    monkeypatch.setattr(LockWait, "sleep", sleep_and_say)

    def enter() -> None:
        other.acquire()
        entered.set()
        other.release()

    one.acquire()
    thread = threading.Thread(target=enter)
    thread.start()
    assert waits.wait(30)
    assert not entered.is_set()
    one.release()
    thread.join(30)
    assert entered.is_set()


@pytest.mark.parametrize("owner", ["another host", "nobody"])
def test_a_lock_of_the_unknown_is_taken_after_its_grace(tmp_path: Path, owner: str) -> None:
    path = tmp_path / "study.log"
    path.touch()
    name = tmp_path / "owner"
    known = {"host": "elsewhere", "pid": os.getpid(), "started": "1"}
    name.write_text(json.dumps(known) if owner == "another host" else "")
    os.symlink(name, f"{path}.lock")
    stock = JournalFileSymlinkLock(str(path))
    stock.grace_period = 1
    lock = MendingLock(str(path), stock)
    began = time.monotonic()
    lock.acquire()
    assert time.monotonic() - began >= 1.0
    lock.release()


def test_a_lock_of_somebody_else_s_kind_still_mends(tmp_path: Path) -> None:
    class Own(BaseJournalFileLock):
        held = False

        def acquire(self) -> bool:
            self.held = True
            return True

        def release(self) -> None:
            self.held = False

    path, own = tmp_path / "study.log", Own()
    path.write_bytes(b'{"op_code":0}\n{"op')
    lock = MendingLock(str(path), own)
    lock.acquire()
    assert own.held
    assert path.read_bytes() == b'{"op_code":0}\n'
    lock.release()
    assert not own.held


# -- a file that was cut or replaced under a run, a disk that is full, a holder that stands still


def cut_short(path: Path, others: bytes) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_by_a_record(path: Path, others: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.rstrip(b"\n").rindex(b"\n") + 1])


def emptied(path: Path, others: bytes) -> None:
    path.write_bytes(b"")


def replaced(path: Path, others: bytes) -> None:
    path.unlink()
    path.write_bytes(others)


def replaced_by_a_longer_one(path: Path, others: bytes) -> None:
    path.write_bytes(others * (path.stat().st_size // len(others) + 2))


@pytest.mark.parametrize("change", [cut_short, cut_by_a_record, emptied, replaced, replaced_by_a_longer_one])
@pytest.mark.parametrize("kind", LOCKS)
def test_a_journal_that_was_cut_or_replaced_is_an_error_that_holds_the_results(
    tmp_path: Path, change: Any, kind: Any, caplog: Any
) -> None:
    told(opened(tmp_path / "other.log"), 8.0)
    others = (tmp_path / "other.log").read_bytes()
    path = tmp_path / "study.log"
    storage = JournalStorage(JournalFileBackend(str(path), lock_obj=kind(str(path))))
    study = optuna.create_study(storage=storage, sampler=sampler(SchemaModel()))

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 2:
            change(path, others)
        return 10.5 + trial.number

    optimize = optimize_with(seconds=5)
    with pytest.raises(OptunaLLMError, match=r"study\.log was cut or replaced.*COMPLETE, value 12\.5"):
        anyio.run(lambda: optimize(study, objective, n_trials=9, search_space=SPACE))
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    for value in ("10.5", "11.5", "12.5"):
        assert sum(f"value {value}" in line for line in errors) == 1
    assert not list(tmp_path.glob("study.log.torn-*"))
    assert not os.path.lexists(f"{path}.lock")


def test_a_journal_that_only_others_changed_by_the_rules_is_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    mine, others = told(opened(path), 1.0), told(opened(path), 2.0)
    for _ in range(3):
        others.tell(others.ask(), 3.0)
        with path.open("ab") as file:
            file.write(b'{"op_code":4,"worker')  # somebody died
        mine.tell(mine.ask(), 4.0)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)  # as a backup that was put back
    assert [trial.value for trial in mine.trials] == [1.0, 2.0] + [3.0, 4.0] * 3


class Full:
    """A file system without room: each file takes so many bytes more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        real = io.open

        def opened_on_a_full_disk(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            stream = real(file, mode, *args, **kwargs)
            if "a" not in mode and "w" not in mode:
                return stream
            return FullFile(stream, room)

        monkeypatch.setattr("builtins.open", opened_on_a_full_disk)
        monkeypatch.setattr(io, "open", opened_on_a_full_disk)


class FullFile:
    def __init__(self, stream: Any, room: int) -> None:
        self._stream, self._room = stream, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "FullFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, content: Any) -> int:
        self._stream.write(content[: self._room])
        self._stream.flush()
        if len(content) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(content)


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_leaves_no_litter(tmp_path: Path, kind: Any, room: int) -> None:
    path = tmp_path / "study.log"
    study = told(opened(path, kind), 1.0)
    before, files = path.read_bytes(), sorted(tmp_path.iterdir())
    with pytest.MonkeyPatch.context() as monkeypatch:
        Full(monkeypatch, room)
        for _ in range(20):
            with pytest.raises(OSError, match="No space"):
                study.ask()
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in told(opened(path)).trials] == [1.0, 2.0]


@pytest.mark.parametrize("room", [0, 1, 9])
def test_a_full_disk_leaves_no_half_of_a_backup_or_an_owner(tmp_path: Path, room: int) -> None:
    path = tmp_path / "study.log"
    path.write_bytes(b'{"op_code":0}\n{"op_code":4,"wor')
    lock = MendingLock(str(path), JournalFileSymlinkLock(str(path)))
    for made_before in (False, True):  # the owner's own file
        with pytest.MonkeyPatch.context() as monkeypatch:
            Full(monkeypatch, room)
            for _ in range(5):
                with pytest.raises(OSError, match="No space"):
                    lock.acquire()
        left = {file.name.partition("-")[0] for file in tmp_path.iterdir()}
        assert left == {"study.log", *(["study.log.lock.owner"] if made_before else [])}
        if not made_before:
            lock._owner = owner_file(lock._file)
    lock.acquire()
    lock.release()
    assert path.read_bytes() == b'{"op_code":0}\n'


def held_by(path: Path, process: Process) -> None:
    owner = path.with_name("owner-of-the-lock")
    owner.write_text(json.dumps(asdict(process)))
    os.symlink(owner, f"{path}.lock")


@pytest.mark.parametrize("hidden", [False, True])
def test_behind_a_holder_that_stands_still_a_run_waits_and_gives_nothing_up(
    tmp_path: Path, hidden: bool, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    path = tmp_path / "study.log"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), sampler=sampler(SchemaModel()))
    holder = this_process()
    if hidden:  # it is another user's, and /proc does not show it
        holder = replace(holder, pid=1, started="0")
        monkeypatch.setattr(process, "started", lambda pid: None if pid == 1 else holder.started)
        monkeypatch.setattr(process, "_exists", lambda pid: pid == 1)
    monkeypatch.setattr(journal_owners, "WARN_AFTER", 0.0)
    looks = 0

    def let_it_go_on(wait: LockWait) -> None:
        nonlocal looks
        looks += 1
        time.sleep(0.01)
        if looks == 40:  # much longer than the policy allows
            os.unlink(f"{path}.lock")

    def objective(trial: optuna.Trial) -> float:
        held_by(path, holder)
        return 4.5

    monkeypatch.setattr(LockWait, "sleep", let_it_go_on)
    optimize = optimize_with(seconds=0.1)
    anyio.run(lambda: optimize(study, objective, n_trials=1, search_space=SPACE))
    assert [trial.value for trial in study.trials] == [4.5]
    assert f"process {holder.pid} holds it, and lives" in caplog.text


def test_a_lock_that_was_taken_from_us_is_not_let_go(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    path.touch()
    for kind in LOCKS:
        lock = MendingLock(str(path), kind(str(path)))
        lock.acquire()
        os.unlink(f"{path}.lock")  # somebody of another host thought us dead
        held_by(path, Process(host="elsewhere", pid=1, started="1"))
        lock.release()
        assert os.path.lexists(f"{path}.lock")
        os.unlink(f"{path}.lock")
        (tmp_path / "owner-of-the-lock").unlink()


def test_processes_are_told_apart() -> None:
    me = this_process()
    assert me.is_alive() is True
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = type(me)(host=this_host(), pid=child.pid, started=me.started + "1")
        assert other.is_alive() is False  # the pid is somebody else's now
    assert type(me)(host="elsewhere", pid=me.pid, started=me.started).is_alive() is None


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["the first", "ours"])
def test_a_process_that_is_hidden_from_us_is_not_dead(pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where /proc is mounted with hidepid; signals tell of a process, and not when it began."""
    monkeypatch.setattr(process, "_text", lambda path: "")

    def kill(pid: int, number: int) -> None:
        assert number == 0
        if pid == 1:
            raise PermissionError
        if pid != os.getpid():
            raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    assert Process(host=this_host(), pid=pid, started="7").is_alive() is None
    assert Process(host=this_host(), pid=os.getpid() + 1, started="7").is_alive() is False


def test_a_process_that_could_not_tell_when_it_began_is_not_dead_while_its_pid_is_there() -> None:
    me = this_process()
    assert replace(me, started="").is_alive() is None


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = Process(host=this_host(), pid=child.pid, started=process.started(child.pid) or "")
        assert known.is_alive() is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        assert known.is_alive() is False
