"""A journal file survives a process that dies in mid-write, or with the lock in its hands."""

import functools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock
from support import SPACE, SchemaModel, sampler

from optuna_llm import optimize_async
from optuna_llm.engine.process import this_host, this_process
from optuna_llm.engine.study.journal_repair import LockWait, MendingLock, guard_journal, tidy_journal

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


def test_processes_are_told_apart() -> None:
    me = this_process()
    assert me.is_alive() is True
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = type(me)(host=this_host(), pid=child.pid, started=me.started + "1")
        assert other.is_alive() is False  # the pid is somebody else's now
    assert type(me)(host="elsewhere", pid=me.pid, started=me.started).is_alive() is None
