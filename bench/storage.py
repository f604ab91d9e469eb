"""Fills the database with executions faster than anybody could start them."""

from __future__ import annotations

from sqlalchemy import create_engine, inspect, text

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
