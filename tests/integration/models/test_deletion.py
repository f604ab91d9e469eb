"""What belongs to an execution goes with it, whatever deletes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, Table, delete, select

from app.models import (
    ActionExecution,
    Context,
    Database,
    DelayedCall,
    JournalEntry,
    LogEvent,
    TaskExecution,
    WorkflowExecution,
    WorkflowSpecRow,
)
from app.models.types import UTCDateTime

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPECS: Any = WorkflowSpecRow.__table__
EXECUTIONS: Any = WorkflowExecution.__table__
EVENTS: Any = LogEvent.__table__
#: Tables with rows of executions, those first that others point to. (Notifications stay: they are
#: still to be told.)
OF_EXECUTIONS: list[Any] = [
    each.__table__
    for each in (TaskExecution, ActionExecution, Context, DelayedCall, LogEvent, JournalEntry)
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.engine.dispose()


def value(column: Column[Any], execution: str) -> Any:
    """What a column holds that no test looks at."""
    match column.type:
        case UTCDateTime():
            return NOW
        case Boolean():
            return False
        case Integer():
            return 1
        case _:
            return f"{column.name} of {execution}"[:10]


def row(table: Table, execution: str) -> dict[str, Any]:
    """A row of *execution* with a value in each column."""
    ids = {"id": execution, "workflow_execution_id": execution, "task_execution_id": execution}
    known = {**ids, "spec_id": "s"}
    return {
        column.name: known.get(column.name) or value(column, execution)
        for column in table.columns
        if column is not EVENTS.c.id  # It counts by itself.
    }


def test_rows_of_an_execution_go_with_it(database: Database) -> None:
    with database.sessions.begin() as session:
        session.execute(SPECS.insert(), {"id": "s", "data": {}})
        for execution in ("one", "two", "three"):
            for table in (EXECUTIONS, *OF_EXECUTIONS):
                session.execute(table.insert(), row(table, execution))
    with database.sessions.begin() as session:
        session.execute(delete(EXECUTIONS).where(EXECUTIONS.c.id.in_(["one", "three"])))
    with database.read() as session:
        left = {
            table.name: session.scalars(select(table.c.workflow_execution_id)).all()
            for table in OF_EXECUTIONS
        }
    assert left == {table.name: ["two"] for table in OF_EXECUTIONS}
