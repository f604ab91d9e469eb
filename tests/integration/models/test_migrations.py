"""The migrations make what the rows expect."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from app.models import migrate, revision
from app.models.session import Database


def test_models_equal_migrations(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert not revision.is_current(database)
    migrate.upgrade(database)
    assert revision.is_current(database)
    assert migrate.differences(database) == []
    database.engine.dispose()


def test_many_may_migrate_at_once(empty_database_url: str) -> None:
    databases = [Database(empty_database_url) for _ in range(4)]
    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(migrate.upgrade, databases))
    assert all(revision.is_current(database) for database in databases)
    for database in databases:
        database.engine.dispose()
