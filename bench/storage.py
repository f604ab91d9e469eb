"""What the bench does to the database itself: rows faster than anybody could make them."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
from sqlalchemy import create_engine, inspect, make_url, text

from bench.drive import Wrong

TABLE = "workflow_executions"


def multiply_executions(database_url: str, execution_id: str, count: int) -> None:
    """Store *count* copies of a finished execution, a second older each.

    The copies have the same definition, context and values; only id and times differ.
    """
    engine = create_engine(database_url)
    try:
        columns = [column["name"] for column in inspect(engine).get_columns(TABLE)]
        sqlite = engine.dialect.name == "sqlite"
        values = {
            "id": _SQLITE_ID if sqlite else "gen_random_uuid()::text",
            "created_at": (
                "datetime(created_at, '-' || n || ' seconds')"
                if sqlite
                else "created_at - n * interval '1 second'"
            ),
        }
        chosen = ", ".join(values.get(name, name) for name in columns)
        numbers = (
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
            "WHERE n < :count) "
        )
        # Column names come from the database itself.
        statement = (
            f"INSERT INTO {TABLE} ({', '.join(columns)}) {numbers}"
            f"SELECT {chosen} FROM {TABLE}, numbers WHERE id = :id"
        )
        with engine.begin() as connection:
            connection.execute(text(statement), {"count": count, "id": execution_id})
        if not sqlite:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                # As autovacuum would have done by the time that many had come one by one.
                connection.execute(text(f"VACUUM ANALYZE {TABLE}"))
    finally:
        engine.dispose()


_SQLITE_ID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' "
    "|| hex(randomblob(2)) || '-' || hex(randomblob(6)))"
)


def lateness_of_timers(
    database_url: str, count: int, *, per_second: float | None, patience: float = 120.0
) -> list[float]:
    """Seconds by which *count* waiting tasks end late, sorted, once their timers are brought near.

    All are due at once, or so many *per_second*. They must be the only timers. PostgreSQL only.
    """
    gap = 1 / per_second if per_second else 0.0
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        _await(connection, "SELECT count(*) FROM delayed_calls", count, patience)
        connection.execute(
            "CREATE TEMPORARY TABLE due AS SELECT task_execution_id AS id, "
            "clock_timestamp() + (5 + %s * row_number() OVER (ORDER BY id)) * interval '1 second' "
            "AS due_at FROM delayed_calls",
            (gap,),
        )
        connection.execute(
            "UPDATE delayed_calls SET due_at = due.due_at FROM due "
            "WHERE delayed_calls.task_execution_id = due.id"
        )
        ended = (
            "SELECT count(*) FROM due JOIN task_executions USING (id) WHERE finished_at IS NOT NULL"
        )
        _await(connection, ended, count, patience)
        rows = connection.execute(
            "SELECT extract(epoch FROM finished_at - due_at)::float "
            "FROM due JOIN task_executions USING (id)"
        ).fetchall()
    return sorted(row[0] for row in rows)


def _await(connection: psycopg.Connection, query: str, expected: int, patience: float) -> None:
    """Wait until *query* counts what is expected."""
    end = time.monotonic() + patience
    found = -1
    while time.monotonic() < end:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        found = row[0] if row else 0
        if found == expected:
            return
        time.sleep(0.25)
    raise Wrong(f"{found} of {expected} after {patience:g} s: {query}")
