"""Rows of messages that have left are deleted in the background, and at the latest at the end."""

from __future__ import annotations

import threading

from sqlalchemy import func, select

from app.broker import engine_message
from app.config import Config
from app.models import Database, OutboxMessage
from app.services.outbox import add, unit_of_work
from app.services.platform import Platform
from tests.processes import wait_for


def send(platform: Platform) -> None:
    with unit_of_work(platform.database, platform.broker) as session:
        add(session, [engine_message("e1", {"kind": "ExecutionStarted"})])


def rows(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(OutboxMessage)) or 0


def test_what_has_left_is_deleted_a_moment_later(database_url: str, clean_redis_url: str) -> None:
    platform = Platform.from_config(Config(database_url=database_url, broker_url=clean_redis_url))
    send(platform)
    assert rows(platform.database) == 1
    wait_for(lambda: rows(platform.database) == 0)
    platform.close()


def test_what_has_left_is_deleted_when_all_is_closed(
    database_url: str, clean_redis_url: str
) -> None:
    before = threading.enumerate()
    platform = Platform.from_config(Config(database_url=database_url, broker_url=clean_redis_url))
    send(platform)
    platform.close()
    other = Database(database_url)
    assert rows(other) == 0
    other.engine.dispose()
    # And nobody comes back to it.
    wait_for(lambda: set(threading.enumerate()) <= set(before))
