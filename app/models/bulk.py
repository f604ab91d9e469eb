"""Rows of many kinds, written in one round trip.

On PostgreSQL the rows of a transaction are one statement as far as possible: those that are new
travel as a JSON array for each table, of which the server makes rows. The COMMIT can go along.
SQLite has no round trips to save and takes rows as ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import chain, count
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Table, bindparam, delete, exists, insert, literal, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session


class Changed(Exception):
    """A row that a write relied on is not what it was, or is gone; nothing was written."""


class Write(NamedTuple):
    """Rows of one table to be inserted, or updated or deleted by their ``id``.

    Or what all other writes depend on: ``require`` wants a row with these values to be there,
    ``forbid`` wants none; if it is not so, nothing at all is written.
    """

    kind: Literal["insert", "update", "delete", "require", "forbid"]
    table: Table
    #: All with the same keys, and at least one.
    rows: Sequence[Mapping[str, Any]]
    #: What the only row of an update must have in these columns; else nothing at all is written.
    only_if: Mapping[str, Any] = MappingProxyType({})

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that every row has."""
        return tuple(self.rows[0])


def gathered(writes: Iterable[Write]) -> list[Write]:
    """The same in fewer writes: new rows of one table together, and no condition twice."""
    result: list[Write] = []
    inserts: dict[Any, list[Mapping[str, Any]]] = {}
    for each in writes:
        if each.kind == "insert":
            of_table = inserts.setdefault((each.table, each.names), [])
            if not of_table:
                result.append(each._replace(rows=of_table))
            of_table.extend(each.rows)
        elif not _is_check(each) or each not in result:
            result.append(each)
    return result


def write(session: Session, writes: Sequence[Write], *, commit: bool = False) -> None:
    """Carry out *writes*, no two of which are about the same row, after what the session holds.

    With *commit* the transaction ends with it, or is nothing but this if none has begun. The
    session has yet to be told by its own ``commit``, which costs nothing then. Raises DBAPIError
    as the session does, and Changed when a condition does not hold; then the transaction has to
    be rolled back.
    """
    session.flush()
    connection = session.connection()
    dialect = connection.dialect
    if dialect.name != "postgresql":
        # Conditional ones first: if one does not hold, nothing else shall fail because of it.
        for each in filter(_is_check, writes):
            [checked] = each.rows
            if not connection.scalar(_check(each.kind, each.table, each.names), checked):
                raise Changed(each.table.name)
        rest = (each for each in writes if not _is_check(each))
        for each in sorted(rest, key=lambda write: not write.only_if):
            statement, parameters = _statement(each.kind, each.table, each.names, (*each.only_if,))
            expected = _expected(each)
            rows = [{**parameters(row), **expected} for row in each.rows]
            if connection.execute(statement, rows).rowcount == 0 and expected:
                raise Changed(each.table.name)
        return
    if not writes:
        return
    driver: Any = connection.connection.driver_connection
    with _errors_of(dialect):
        if commit and _is_idle(driver) and not any(map(_many_updates, writes)):
            with _as_own_transaction(driver), _cursor(driver, dialect) as cursor:
                cursor.execute(*_statement_of(writes, dialect))
        else:
            _write_pipelined(driver, writes, dialect, commit=commit)


def _is_check(write: Write | _Shape) -> bool:
    """True for what writes nothing."""
    return write.kind in ("require", "forbid")


@contextmanager
def _errors_of(dialect: Any) -> Iterator[None]:
    """Errors of the driver become SQLAlchemy's."""
    try:
        yield
    except dialect.loaded_dbapi.errors.DivisionByZero as err:
        # What a condition that does not hold comes to: nothing else here divides.
        raise Changed from err
    except dialect.loaded_dbapi.Error as err:
        raise DBAPIError.instance(
            None, None, err, dialect.loaded_dbapi.Error, dialect=dialect
        ) from err


# --- PostgreSQL ------------------------------------------------------------------------------


def _many_updates(write: Write) -> bool:
    """True for what has a statement of its own: one for all would be another for each number."""
    return write.kind == "update" and len(write.rows) > 1


def _is_idle(driver: Any) -> bool:
    """True when the connection has not begun a transaction."""
    return bool(driver.info.transaction_status.name == "IDLE")


@contextmanager
def _as_own_transaction(driver: Any) -> Iterator[None]:
    """Have a statement be a transaction by itself: neither BEGIN nor COMMIT need be sent."""
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False


def _cursor(driver: Any, dialect: Any) -> Any:
    """A cursor that sends statements as they are.

    The usual one looks for its own kind of parameters in each, every time when they are long.
    """
    return dialect.loaded_dbapi.RawCursor(driver)


def _write_pipelined(
    driver: Any, writes: Sequence[Write], dialect: Dialect, *, commit: bool
) -> None:
    together = [each for each in writes if not _many_updates(each)]
    with driver.pipeline(), _cursor(driver, dialect) as cursor:
        if together:
            cursor.execute(*_statement_of(together, dialect))
        for each in filter(_many_updates, writes):
            # After the rows that are new, to which they may refer.
            text = _text((_shape(each),), dialect)
            single = (each._replace(rows=[row]) for row in each.rows)
            cursor.executemany(text, [_parameters(one, dialect) for one in single])
        if commit:
            # The driver's own way to commit waits for an answer of its own.
            cursor.execute("COMMIT", prepare=False)


def _statement_of(writes: Sequence[Write], dialect: Dialect) -> tuple[str, list[Any]]:
    """The one statement for *writes*, and its parameters."""
    # In the order of the text, where checks come last.
    writes = sorted(writes, key=_is_check)
    values = (_parameters(each, dialect) for each in writes)
    return _text(tuple(map(_shape, writes)), dialect), list(chain.from_iterable(values))


class _Shape(NamedTuple):
    """What the text of a write depends on."""

    kind: str
    table: Table
    names: tuple[str, ...]
    conditions: tuple[str, ...]


def _shape(write: Write) -> _Shape:
    return _Shape(write.kind, write.table, write.names, tuple(write.only_if))


#: Where the parts of a statement take a parameter; the whole numbers them.
_PARAMETER = re.compile("%s")


@lru_cache(maxsize=512)
def _text(shapes: tuple[_Shape, ...], dialect: Dialect) -> str:
    """The statement that does everything; its parameters are those that ``_parameters`` gives.

    Foreign keys are looked at when all of it is done. No part joins anything: the server keeps the
    plan, and how many rows there will be it cannot know.

    A conditional update is read from by the outermost query, and so comes before all other parts:
    who waits for its row has no lock on others yet. Without a row it ends in a division by zero,
    as does a check that does not hold.
    """
    parts = [_part(shape, dialect) for shape in shapes if not _is_check(shape)]
    counted = [f"SELECT count(*) FROM w{n}" for n, shape in enumerate(shapes) if shape.conditions]  # noqa: S608
    counted += [_part(shape, dialect) for shape in shapes if _is_check(shape)]
    if counted:
        last = f"SELECT {', '.join(f'1 / ({each})' for each in counted)}"
    else:
        last = parts.pop()
    if parts:
        last = f"WITH {', '.join(f'w{n} AS ({part})' for n, part in enumerate(parts))} {last}"
    numbers = count(1)
    return _PARAMETER.sub(lambda _: f"${next(numbers)}", last)


def _part(shape: _Shape, dialect: Dialect) -> str:
    kind, table, names, conditions = shape
    quote = dialect.identifier_preparer.quote
    name = quote(table.name)
    if kind == "delete":
        return f"DELETE FROM {name} WHERE id = ANY(%s::VARCHAR[])"  # noqa: S608
    if kind in ("require", "forbid"):
        # What is part of a key is compared in the way for which there is an index.
        same = " AND ".join(
            f"{quote(n)} {'=' if table.c[n].primary_key else 'IS NOT DISTINCT FROM'} %s"
            for n in names
        )
        there = "EXISTS" if kind == "require" else "NOT EXISTS"
        return f"SELECT count(*) WHERE {there} (SELECT FROM {name} WHERE {same})"  # noqa: S608
    names = names if kind == "insert" else tuple(n for n in names if n != "id")
    columns = ", ".join(quote(n) for n in names)
    types = ", ".join(f"{quote(n)} {table.c[n].type.compile(dialect)}" for n in names)
    if kind == "insert":
        rows = f"SELECT {columns} FROM json_to_recordset(%s::json) AS r({types})"  # noqa: S608
        return f"INSERT INTO {name} ({columns}) {rows}"
    row = f"SELECT {columns} FROM json_to_record(%s::json) AS r({types})"  # noqa: S608
    where = "".join(f" AND {quote(each)} = %s" for each in conditions)
    returning = " RETURNING 1" if conditions else ""
    return f"UPDATE {name} SET ({columns}) = ({row}) WHERE id = %s{where}{returning}"  # noqa: S608


def _parameters(write: Write, dialect: Dialect) -> list[Any]:
    """The parameters of the part for *write*; an update and a check take one row."""
    if write.kind == "delete":
        return [[row["id"] for row in write.rows]]
    if _is_check(write):
        [checked] = write.rows
        return list(checked.values())
    processors = _processors(write.table, write.names, dialect)
    changed = [dict(row) for row in write.rows]
    for row in changed:
        for name, processor in processors:
            row[name] = processor(row[name])
    if write.kind == "insert":
        return [orjson.dumps(changed).decode()]
    [row] = changed
    row_id = row.pop("id")
    return [orjson.dumps(row).decode(), row_id, *write.only_if.values()]


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


def _expected(write: Write) -> Mapping[str, Any]:
    return {f"expected_{name}": value for name, value in write.only_if.items()}


@cache
def _check(kind: str, table: Table, names: tuple[str, ...]) -> Any:
    """The query that is true when a check holds."""
    same = [table.c[name].is_not_distinct_from(bindparam(name)) for name in names]
    found = exists(select(literal(1)).select_from(table).where(*same))
    return select(found if kind == "require" else ~found)


@cache
def _statement(
    kind: str, table: Table, names: tuple[str, ...], conditions: tuple[str, ...]
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

    expected = [table.c[name] == bindparam(f"expected_{name}") for name in conditions]
    return update(table).where(of_row, *expected).values(values), parameters
