"""Rows of many kinds, written in one round trip.

On PostgreSQL the rows of a transaction are one statement as far as possible: those that are new
travel as a JSON array for each table, of which the server makes rows. The COMMIT can go along.
SQLite has no round trips to save and takes rows as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Table, bindparam, delete, insert, update
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session


class Write(NamedTuple):
    """Rows of one table to be inserted, or updated or deleted by their ``id``."""

    kind: Literal["insert", "update", "delete"]
    table: Table
    #: All with the same keys, and at least one.
    rows: Sequence[Mapping[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that every row has."""
        return tuple(self.rows[0])


def write(session: Session, writes: Sequence[Write], *, commit: bool = False) -> None:
    """Carry out *writes*, no two of which are about the same row, after what the session holds.

    With *commit* the transaction ends with it. The session has yet to be told by its own
    ``commit``, which costs nothing then. Raises DBAPIError as the session does.
    """
    session.flush()
    connection = session.connection()
    dialect = connection.dialect
    if dialect.name != "postgresql":
        for each in writes:
            statement, parameters = _statement(each.kind, each.table, each.names)
            connection.execute(statement, [parameters(row) for row in each.rows])
        return
    if not writes:
        return
    driver: Any = connection.connection.driver_connection
    with _errors_of(dialect), driver.pipeline(), driver.cursor() as cursor:
        together = [each for each in writes if not _many_updates(each)]
        if together:
            text = _text(tuple((each.kind, each.table, each.names) for each in together), dialect)
            values = [_parameters(each, dialect) for each in together]
            cursor.execute(text, list(chain.from_iterable(values)))
        for each in filter(_many_updates, writes):
            # After the rows that are new, to which they may refer.
            text = _text(((each.kind, each.table, each.names),), dialect)
            single = (each._replace(rows=[row]) for row in each.rows)
            cursor.executemany(text, [_parameters(one, dialect) for one in single])
        if commit:
            driver.commit()


@contextmanager
def _errors_of(dialect: Any) -> Iterator[None]:
    """Errors of the driver become SQLAlchemy's."""
    try:
        yield
    except dialect.loaded_dbapi.Error as err:
        raise DBAPIError.instance(
            None, None, err, dialect.loaded_dbapi.Error, dialect=dialect
        ) from err


# --- PostgreSQL ------------------------------------------------------------------------------


def _many_updates(write: Write) -> bool:
    """True for what has a statement of its own: one for all would be another for each number."""
    return write.kind == "update" and len(write.rows) > 1


@lru_cache(maxsize=512)
def _text(shapes: tuple[tuple[str, Table, tuple[str, ...]], ...], dialect: Dialect) -> str:
    """The statement that does everything; its parameters are those that ``_parameters`` gives.

    Foreign keys are looked at when all of it is done. No part joins anything: the server keeps the
    plan, and how many rows there will be it cannot know.
    """
    parts = [_part(*shape, dialect) for shape in shapes]
    *others, last = parts
    if not others:
        return last
    return f"WITH {', '.join(f'w{n} AS ({part})' for n, part in enumerate(others))} {last}"


def _part(kind: str, table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    quote = dialect.identifier_preparer.quote
    name = quote(table.name)
    if kind == "delete":
        return f"DELETE FROM {name} WHERE id = ANY(%s::VARCHAR[])"  # noqa: S608
    names = names if kind == "insert" else tuple(n for n in names if n != "id")
    columns = ", ".join(quote(n) for n in names)
    types = ", ".join(f"{quote(n)} {table.c[n].type.compile(dialect)}" for n in names)
    if kind == "insert":
        rows = f"SELECT {columns} FROM json_to_recordset(%s::json) AS r({types})"  # noqa: S608
        return f"INSERT INTO {name} ({columns}) {rows}"
    row = f"SELECT {columns} FROM json_to_record(%s::json) AS r({types})"  # noqa: S608
    return f"UPDATE {name} SET ({columns}) = ({row}) WHERE id = %s"  # noqa: S608


def _parameters(write: Write, dialect: Dialect) -> list[Any]:
    """The parameters of the part for *write*; an update takes one row."""
    if write.kind == "delete":
        return [[row["id"] for row in write.rows]]
    processors = _processors(write.table, write.names, dialect)
    changed = [dict(row) for row in write.rows]
    for row in changed:
        for name, processor in processors:
            row[name] = processor(row[name])
    if write.kind == "insert":
        return [orjson.dumps(changed).decode()]
    [row] = changed
    row_id = row.pop("id")
    return [orjson.dumps(row).decode(), row_id]


@lru_cache(maxsize=512)
def _processors(
    table: Table, names: tuple[str, ...], dialect: Dialect
) -> list[tuple[str, Callable[[Any], Any]]]:
    return [
        (name, processor)
        for name in names
        if (processor := table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
    ]


# --- other databases -------------------------------------------------------------------------

_KEY = "key_of_row"


@cache
def _statement(
    kind: str, table: Table, names: tuple[str, ...]
) -> tuple[Any, Callable[[Mapping[str, Any]], Mapping[str, Any]]]:
    """The statement for rows with *names*, and what makes its parameters of a row."""
    if kind == "insert":
        # Nobody reads the keys that the database makes up.
        return insert(table).inline(), lambda row: row
    of_row = table.c.id == bindparam(_KEY)
    if kind == "delete":
        return delete(table).where(of_row), lambda row: {_KEY: row["id"]}
    values: dict[str, Any] = {name: bindparam(name) for name in names if name != "id"}

    def parameters(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {_KEY if name == "id" else name: value for name, value in row.items()}

    return update(table).where(of_row).values(values), parameters
