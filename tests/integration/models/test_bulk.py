"""Writing rows of many kinds together, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.config import Config
from app.models import Changed, Context, Database, Environment, OutboxMessage, Write, write
from workers.process import Process

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENVIRONMENTS: Any = Environment.__table__
OUTBOX: Any = OutboxMessage.__table__
CONTEXTS: Any = Context.__table__

#: What a careless way through JSON would change.
AWKWARD = {
    "nul": "a\x00b",
    "surrogate": "\ud800",
    "big": 2**70,
    "negative": -(2**63),
    "float": 1e300,
    "quotes": "'\"\\\\ \\u0000 %s %(x)s :x {} $1",
    "text": "äöü \U0001f600 \u2028",
    "nested": [[], {}, None, True, {"": {"b": [1], "a": 2}}],
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.engine.dispose()


def environment(id: str, **values: Any) -> dict[str, Any]:
    row = {
        "id": id,
        "project_id": "p",
        "scope": "private",
        "created_at": NOW,
        "updated_at": None,
        "name": id,
        "description": None,
        "variables": {},
    }
    return {**row, **values}


def stored(database: Database) -> dict[str, Environment]:
    with database.read() as session:
        return {row.id: row for row in session.scalars(select(Environment))}


def outbox_ids(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(OutboxMessage.id)))


def message(id: str) -> dict[str, Any]:
    return {"id": id, "messages": [], "created_at": NOW}


@pytest.mark.parametrize("commit", [False, True])
def test_rows_are_inserted_updated_and_deleted_together(database: Database, commit: bool) -> None:
    with database.sessions.begin() as session:
        write(session, [Write("insert", ENVIRONMENTS, [environment(i) for i in "abc"])])
        write(session, [Write("insert", OUTBOX, [message(i) for i in "xyz"])])
    later = NOW + timedelta(seconds=1)
    with database.sessions.begin() as session:
        write(
            session,
            [
                Write("insert", ENVIRONMENTS, [environment("d"), environment("e")]),
                Write("update", ENVIRONMENTS, [{"id": "a", "variables": [1], "updated_at": later}]),
                Write("delete", OUTBOX, [{"id": "x"}, {"id": "z"}, {"id": "never was"}]),
                Write("update", ENVIRONMENTS, [{"id": i, "description": i * 2} for i in "bc"]),
            ],
            commit=commit,
        )
    rows = stored(database)
    assert {i: (row.variables, row.description) for i, row in rows.items()} == {
        "a": ([1], None),
        "b": ({}, "bb"),
        "c": ({}, "cc"),
        "d": ({}, None),
        "e": ({}, None),
    }
    assert (rows["a"].created_at, rows["a"].updated_at, rows["b"].updated_at) == (NOW, later, None)
    assert outbox_ids(database) == {"y"}


def test_values_come_back_as_they_were(database: Database) -> None:
    rows = [
        environment("a", variables=AWKWARD, description="%s 'quoted' \\ \"twice\"\n\t ü"),
        environment("b", variables=None),
        environment("c", variables="text"),
    ]
    with database.sessions.begin() as session:
        write(session, [Write("insert", ENVIRONMENTS, rows)])
    found = stored(database)
    assert found["a"].variables == AWKWARD
    assert list(found["a"].variables) == list(AWKWARD)
    assert found["a"].description == rows[0]["description"]
    assert (found["b"].variables, found["c"].variables) == (None, "text")
    with database.sessions.begin() as session:
        write(session, [Write("update", ENVIRONMENTS, [{"id": "b", "variables": AWKWARD}])])
    assert stored(database)["b"].variables == AWKWARD


@pytest.mark.parametrize("commit", [False, True])
def test_what_fails_leaves_nothing_behind(database: Database, commit: bool) -> None:
    orphan = {
        "id": "c",
        "workflow_execution_id": "nobody",
        "parent_id": None,
        "data": {},
        "versions": {},
    }
    with pytest.raises(IntegrityError), database.sessions.begin() as session:
        write(
            session,
            [
                Write("insert", OUTBOX, [message("x")]),
                Write("insert", ENVIRONMENTS, [environment("a")]),
                Write("insert", CONTEXTS, [orphan]),
            ],
            commit=commit,
        )
    assert (stored(database), outbox_ids(database)) == ({}, set())
    with database.sessions.begin() as session:  # The connection is fit for use.
        write(session, [Write("insert", OUTBOX, [message("x")])], commit=commit)
    assert outbox_ids(database) == {"x"}


def test_a_transaction_that_is_given_up_leaves_nothing_behind(database: Database) -> None:
    with database.sessions() as session:
        write(session, [Write("insert", OUTBOX, [message("x")])])
        session.rollback()
    assert outbox_ids(database) == set()


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("id", "expected", "holds"),
    [
        ("a", {"scope": "private", "created_at": NOW}, True),
        ("a", {"scope": "private", "created_at": NOW + timedelta(microseconds=1)}, False),
        ("a", {"scope": "public", "created_at": NOW}, False),
        ("never was", {"scope": "private"}, False),
    ],
)
def test_nothing_is_written_unless_the_condition_holds(
    database: Database, commit: bool, begun: bool, id: str, expected: dict[str, Any], holds: bool
) -> None:
    with database.sessions.begin() as session:
        write(session, [Write("insert", ENVIRONMENTS, [environment(i) for i in "abc"])])
    writes = [
        Write("insert", OUTBOX, [message("x")]),
        Write("update", ENVIRONMENTS, [{"id": id, "description": "changed"}], expected),
        Write("update", ENVIRONMENTS, [{"id": i, "description": "too"} for i in "bc"]),
    ]

    def carry_out(some: list[Write]) -> None:
        with database.sessions.begin() as session:
            if begun:
                session.execute(text("SELECT 1"))
            write(session, some, commit=commit)

    for some in (writes, writes[:2]):
        with nullcontext() if holds else pytest.raises(Changed):
            carry_out(some)
        rows = stored(database)
        expect = {"a": "changed", "b": "too", "c": "too"} if holds else dict.fromkeys("abc")
        assert {i: row.description for i, row in rows.items()} == expect
        assert outbox_ids(database) == ({"x"} if holds else set())
        with database.sessions.begin() as session:  # The connection is fit for use.
            write(session, [Write("delete", OUTBOX, [{"id": "x"}])], commit=commit)


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("row", "there"),
    [
        ({"id": "a"}, True),
        ({"id": "a", "name": "a", "description": None}, True),
        ({"id": "a", "description": "some"}, False),
        ({"id": "a", "name": "b"}, False),
        ({"id": "never was"}, False),
    ],
)
def test_what_is_required_or_forbidden_decides_whether_anything_is_written(
    database: Database, commit: bool, begun: bool, row: dict[str, Any], there: bool
) -> None:
    with database.sessions.begin() as session:
        write(session, [Write("insert", ENVIRONMENTS, [environment(i) for i in "ab"])])
    for kind in ("require", "forbid"):
        holds = there is (kind == "require")
        writes = [
            Write(kind, ENVIRONMENTS, [row]),  # type: ignore[arg-type]
            Write("insert", OUTBOX, [message("x")]),
            Write("update", ENVIRONMENTS, [{"id": "b", "description": "changed"}], {"name": "b"}),
            Write("require", ENVIRONMENTS, [{"id": "b"}]),
        ]
        outcome = nullcontext() if holds else pytest.raises(Changed)
        with outcome, database.sessions.begin() as session:
            if begun:
                session.execute(text("SELECT 1"))
            write(session, writes, commit=commit)
        assert stored(database)["b"].description == ("changed" if holds else None)
        assert outbox_ids(database) == ({"x"} if holds else set())
        with database.sessions.begin() as session:
            write(session, [Write("delete", OUTBOX, [{"id": "x"}])], commit=commit)
            values = {"id": "b", "description": None}
            write(session, [Write("update", ENVIRONMENTS, [values])], commit=commit)


def test_reading_begins_no_transaction(postgresql_url: str) -> None:
    database, watcher = Database(postgresql_url), Database(postgresql_url)
    of_reader = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with database.read() as session, watcher.read() as other:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        assert other.scalar(of_reader, {"pid": pid}) == "idle"
        assert session.scalars(select(Environment)).all() == []
        with watcher.sessions.begin() as writer:
            write(writer, [Write("insert", ENVIRONMENTS, [environment("a")])], commit=True)
        assert session.scalars(select(Environment.id)).all() == ["a"]
    with database.sessions() as session:  # The same connection, for writing now.
        assert session.scalar(text("SELECT pg_backend_pid()")) == pid
        write(session, [Write("insert", ENVIRONMENTS, [environment("b")])])
        session.rollback()
    assert set(stored(database)) == {"a"}
    for each in (database, watcher):
        each.engine.dispose()


def test_a_worker_goes_by_indexes_while_tables_are_small(
    postgresql_url: str, clean_redis_url: str
) -> None:
    process = Process(Config(database_url=postgresql_url, broker_url=clean_redis_url))
    engine = process.platform.database.engine
    with process.platform.database.sessions.begin() as session:
        write(session, [Write("insert", ENVIRONMENTS, [environment("a")])])
        session.execute(text("ANALYZE environments"))
        plan = session.scalars(
            text("EXPLAIN UPDATE environments SET description = 'x' WHERE id = 'a'")
        )
        assert "Index Scan" in "\n".join(plan)
    engine.dispose()
