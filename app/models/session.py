"""The database: an engine, its sessions, and what each needs set."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session, sessionmaker

#: Seconds without use after which a connection is asked whether it still lives.
IDLE = 2.0


class IsolationError(RuntimeError):
    """The database does not work at READ COMMITTED, on which every decision relies."""


def utcnow() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


class Database:
    """One database and the sessions on it. Making one opens no connection."""

    def __init__(self, url: str, *, pool_size: int = 5, echo: bool = False) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        if self.sqlite:
            options: dict[str, Any] = {"connect_args": {"timeout": 15.0}}
        else:
            options = {
                "isolation_level": "READ COMMITTED",
                "pool_size": pool_size,
                "max_overflow": pool_size,
                # The one used last, whose server process has everything at hand.
                "pool_use_lifo": True,
                "connect_args": {"connect_timeout": 5},
            }
        self.engine: Engine = create_engine(url, echo=echo, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_immediately)
        else:
            event.listen(self.engine, "checkout", _ask_if_idle)
            event.listen(self.engine, "checkin", _note_use)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._reads = sessionmaker(self._for_reading(), expire_on_commit=False)

    def _for_reading(self) -> Engine:
        if self.sqlite:
            return self.engine.execution_options(celeriac_read_only=True)
        # At READ COMMITTED each statement sees what is committed by then, in a transaction or not.
        # Without one there is no BEGIN to wait for, and no ROLLBACK, at which the driver forgets
        # the statements that it has prepared.
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading: nothing is to be written in it, and SQLite takes no write lock."""
        with self._reads() as session:
            yield session

    def prefer_indexes(self) -> None:
        """Have PostgreSQL go by indexes wherever there is one: for workers, which go by ids.

        The server keeps the plans of statements that come often. One that was made while a table
        was small reads all of it, and would go on so while the table grows.
        """
        if not self.sqlite:
            event.listen(self.engine, "connect", _prefer_indexes)

    def dispose(self) -> None:
        """Forget all connections, e.g. in a child after a fork."""
        self.engine.dispose(close=False)

    def check_isolation(self) -> None:
        """Raise unless transactions read what others have committed."""
        if self.sqlite:
            return
        with self.engine.connect() as connection:
            level = connection.execute(text("SHOW transaction_isolation")).scalar_one()
        if str(level).lower() != "read committed":
            raise IsolationError(f"expected isolation level 'read committed', got {level!r}")


def _note_use(connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _ask_if_idle(connection: Any, record: Any, proxy: Any) -> None:
    """Ask the server whether a connection that was idle for a while still lives.

    Asking each time, as SQLAlchemy's own check does, costs a round trip for every transaction.
    """
    if time.monotonic() - record.info.get("used", math.inf) < IDLE:
        return
    try:
        connection.execute("")
        connection.rollback()
    except connection.Error as err:
        raise DisconnectionError(str(err)) from err


def _prefer_indexes(connection: Any, record: Any) -> None:
    for name in ("enable_seqscan", "jit"):
        connection.execute(f"SET {name} = off")
    connection.commit()


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # The driver must not begin transactions by itself: _begin_immediately does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=15000")
    cursor.close()


def _begin_immediately(connection: Any) -> None:
    """Take SQLite's write lock at the start.

    A transaction that reads first and writes later fails at once (not after the busy timeout)
    when another one wrote in between; taking the lock at the start makes writers queue.
    """
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if options.get("celeriac_read_only") else "BEGIN IMMEDIATE")
