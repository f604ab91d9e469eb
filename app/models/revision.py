"""Which shape a database has; every server asks this, and none needs to load Alembic for it."""

from __future__ import annotations

from sqlalchemy import column, inspect, select, table

from .session import Database

#: The newest migration in ``migrations/versions``.
HEAD = "0001"
#: Where Alembic writes the revision that a database has.
_TABLE = table("alembic_version", column("version_num"))


def is_current(database: Database) -> bool:
    """Whether *database* has the newest shape."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table(_TABLE.name):
            return False
        return connection.scalars(select(_TABLE.c.version_num)).all() == [HEAD]
