"""Decisions rely on READ COMMITTED; a database that works otherwise is refused."""

from __future__ import annotations

import pytest

from app.config import Config
from app.models.session import Database, IsolationError
from workers.process import Process


def test_a_worker_refuses_another_isolation_level(
    postgresql_url: str, clean_redis_url: str
) -> None:
    process = Process(Config(database_url=postgresql_url, broker_url=clean_redis_url))
    opened = process.platform.database.engine  # It was found right, or this would have raised.
    database = Database(postgresql_url)
    database.engine = opened.execution_options(isolation_level="SERIALIZABLE")
    with pytest.raises(IsolationError, match="serializable"):
        database.check_isolation()
    opened.dispose()
