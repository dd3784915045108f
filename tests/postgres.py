"""Databases of the PostgreSQL server that tests start."""

from typing import Any

import sqlalchemy


def create_database(server: Any, name: str) -> str:
    """Return its URL. Not by the server's own `psql`, which needs a path without spaces."""
    engine = sqlalchemy.create_engine(server.get_uri(driver="psycopg2"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return str(server.get_uri(database=name, driver="psycopg2"))


def environment(url: str) -> dict[str, str]:
    """What libpq reads where a URL names neither host nor user."""
    parts = sqlalchemy.make_url(url)
    host = parts.query["host"]
    assert isinstance(host, str)
    return {"PGHOST": host, "PGUSER": parts.username or ""}
