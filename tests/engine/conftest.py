"""The storages that what is stored is tested on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend


@pytest.fixture(params=["memory", "journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    """One of each kind, empty; a writer waits long for SQLite's lock, for the machine may be busy."""
    match request.param:
        case "memory":
            yield InMemoryStorage()
        case "journal":
            yield JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        case "sqlite":
            rdb = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}})
            yield rdb
            rdb.engine.dispose()
