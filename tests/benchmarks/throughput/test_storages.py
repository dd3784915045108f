"""The storages that the throughput benchmark measures."""

from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from benchmarks.throughput.storages import STORAGES, StorageName, missing, place
from benchmarks.throughput.workload import prefill


@pytest.mark.parametrize("name", STORAGES)
def test_a_place_has_studies_of_its_own_with_a_past(name: StorageName) -> None:
    assert missing(name) is None
    with place(name) as where:
        study, other = where.study(), where.study()
        prefill(study, 3)
        assert (len(study.trials), len(other.trials)) == (3, 0)


def test_a_database_server_is_gone_with_its_place() -> None:
    with place("postgresql") as where:
        assert isinstance(where.storage, RDBStorage)
        url = where.storage.engine.url
        where.study()
    assert url.drivername == "postgresql+psycopg2"
    with pytest.raises(OperationalError, match="No such file"):
        RDBStorage(url.render_as_string(hide_password=False))
    assert not Path(str(url.query["host"])).exists()
