"""Brings a database to the shape that the rows expect, and tells what is different."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from .rows import Base
from .session import Database

_FOLDER = Path(__file__).parent / "migrations"
#: Any number, the same in every process: whoever holds it migrates.
_LOCK = 7_203_315_521


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring *database* to *revision*; several processes may ask at once, one does it."""
    with _alone(database) as connection:
        command.upgrade(_config(connection), revision)


def differences(database: Database) -> list[Any]:
    """What the migrated *database* has otherwise than the rows say; empty when they agree."""
    with database.engine.connect() as connection:
        return list(
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata
            )
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A connection in a transaction that nobody else who migrates can have at the same time."""
    with database.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        if database.sqlite and raw is not None:
            # A table that batch mode copies must not take its children along when the old one
            # is dropped; the switch works only outside of a transaction.
            raw.execute("PRAGMA foreign_keys=OFF")
        try:
            # SQLite's transaction is the lock: it begins with the write lock.
            with connection.begin():
                if not database.sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield connection
        finally:
            if database.sqlite and raw is not None:
                raw.execute("PRAGMA foreign_keys=ON")
