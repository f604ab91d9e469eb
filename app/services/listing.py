"""Pages of rows: filters, order, and where a page begins.

Paging is by the values of the last row (keyset), so page ten thousand costs what page one costs.
Only the columns that are asked for are read, as plain rows: lists never load what they do not
show.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    false,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Session

from app.models.types import JSONText, UTCDateTime, dumps

from .actors import Actor, visible, visible_to
from .errors import NotFound, Refused

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One attribute compared with a value, or with several for ``in`` and ``nin``."""

    name: str
    operator: str = "eq"
    #: Text as the caller wrote it; a list of texts for ``in`` and ``nin``; for typed attributes
    #: a value of the type.
    value: Any = None

    @classmethod
    def parse(cls, name: str, text: str) -> Filter:
        """The filter that ``name=<text>`` means: ``op:value``, or a plain value for equality."""
        word, colon, rest = text.partition(":")
        if not colon or word not in OPERATORS:
            return cls(name=name, value=text)
        if word in ("in", "nin"):
            return cls(name=name, operator=word, value=_several(rest))
        return cls(name=name, operator=word, value=rest)

    def text(self) -> str:
        """The filter as the ``next`` link of a list shows it."""
        return f"{self.operator}:{self.value}"


def _several(text: str) -> list[str]:
    """``a,b`` as a list; also ``['a', 'b']``, the form in which ``next`` links carry it."""
    if text.startswith("[") and text.endswith("]"):
        try:
            values = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values = None
        if isinstance(values, list) and all(isinstance(each, str) for each in values):
            return values
    return text.split(",")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What part of a list is wanted, in which order."""

    filters: Sequence[Filter] = ()
    #: Columns that must be null.
    nulls: Sequence[str] = ()
    sort_keys: Sequence[str] = ("created_at",)
    #: ``asc`` or ``desc`` for each key; missing ones are ``asc``.
    sort_dirs: Sequence[str] = ()
    limit: int | None = None
    #: The id of the row after which the page begins.
    marker: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What can be listed, and how: a table and what callers may filter and sort it by."""

    model: type[Any]
    #: What NotFound says of a marker that is not there, with ``{}`` for the id.
    missing: str
    #: Attribute -> column, where they have different names.
    columns: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Column[Any] | None:
        """The column behind attribute *name*, or None."""
        found = self.model.__table__.columns.get(self.columns.get(name, name))
        return found if found is not None else None


def order(listing: Listing, page: Page) -> list[tuple[str, Column[Any], bool]]:
    """The keys of the order, each with its column and whether it descends; total by the id."""
    keys = list(dict.fromkeys(key.strip().lower() for key in page.sort_keys if key.strip()))
    dirs = [word.strip().lower() for word in page.sort_dirs if word.strip()]
    if len(dirs) > len(keys):
        raise Refused("Length of sort_keys must be equal or greater than sort_dirs.")
    if any(word not in ("asc", "desc") for word in dirs):
        raise Refused("Unknown sort direction, must be 'desc' or 'asc'.")
    dirs += ["asc"] * (len(keys) - len(dirs))
    if "id" not in keys:
        keys.append("id")
        dirs.append("asc")
    result = []
    for key, word in zip(keys, dirs, strict=True):
        column = listing.column(key)
        if column is None:
            raise Refused(f"Sort key supplied is invalid: {key}")
        result.append((key, column, word == "desc"))
    return result


def fetch(
    session: Session,
    actor: Actor,
    listing: Listing,
    page: Page,
    columns: Sequence[ColumnElement[Any]],
    *conditions: ColumnElement[bool],
) -> Sequence[Row[Any]]:
    """The rows of *page* that *actor* sees, with *columns* only.

    Names in *columns* are the attributes of the rows that come back.
    """
    keys = order(listing, page)
    allowed = visible(listing.model, actor)
    query = _select(tuple(columns)).where(allowed, *conditions)
    for each in page.filters:
        query = query.where(_condition(listing, each))
    for name in page.nulls:
        column = listing.column(name)
        if column is None:
            raise Refused(f"'{name}' is not a valid field name.")
        if not column.nullable:
            raise Refused(f"The field '{name}' can't hold None value.")
        query = query.where(column.is_(None))
    if page.marker is not None:
        query = query.where(_after(session, listing, page.marker, keys, allowed))
    for _, column, down in keys:
        if column.nullable:
            # Databases disagree about where nulls belong; here they are the smallest.
            query = query.order_by(column.is_not(None).desc() if down else column.is_not(None))
        query = query.order_by(column.desc() if down else column.asc())
    if page.limit is not None:
        query = query.limit(page.limit)
    return session.execute(query).all()


@lru_cache(maxsize=256)
def _select(columns: tuple[ColumnElement[Any], ...]) -> Select[Any]:
    """The columns of a list, without a condition: making this takes longer than reading a row."""
    return select(*columns)


def one(
    session: Session,
    actor: Actor,
    listing: Listing,
    id: str,
    columns: Sequence[ColumnElement[Any]],
) -> Row[Any]:
    """The row of that id that *actor* sees, with *columns* only; NotFound when there is none."""
    model: Any = listing.model
    query = _one(model, tuple(columns), everything=actor.is_admin)
    row = session.execute(query, {"id": id, "project_id": actor.project_id}).first()
    if row is None:
        raise NotFound(listing.missing.format(id))
    return row


@lru_cache(maxsize=256)
def _one(model: Any, columns: tuple[ColumnElement[Any], ...], *, everything: bool) -> Any:
    """The statement of ``one``; making it takes as long as the database needs for it."""
    query = select(*columns).where(model.__table__.c.id == bindparam("id"))
    return query if everything else query.where(visible_to(model, bindparam("project_id")))


def _after(
    session: Session,
    listing: Listing,
    marker: str,
    keys: Sequence[tuple[str, Column[Any], bool]],
    allowed: ColumnElement[bool],
) -> ColumnElement[bool]:
    """The condition for rows that come after the row *marker*."""
    row = session.execute(
        select(*(column for _, column, _ in keys)).where(
            listing.model.__table__.c.id == marker, allowed
        )
    ).first()
    if row is None:
        raise NotFound(listing.missing.format(marker))
    values = list(row)
    columns = [column for _, column, _ in keys]
    downs = {down for _, _, down in keys}
    if len(downs) == 1 and not any(column.nullable for column in columns):
        left, right = tuple_(*columns), tuple_(*values)
        return left < right if downs == {True} else left > right
    choices: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (_, column, down), value in zip(keys, values, strict=True):
        choices.append(and_(*equal, _beyond(column, value, down)))
        equal.append(column.is_(None) if value is None else column == value)
    first, value, down = columns[0], values[0], keys[0][2]
    if first.nullable:
        return or_(*choices)
    # Said again in the form that an index on the first key can use.
    return and_(first <= value if down else first >= value, or_(*choices))


def _beyond(column: Column[Any], value: Any, down: bool) -> ColumnElement[bool]:
    """*column* comes strictly after *value*; nulls are the smallest."""
    if value is None:
        return false() if down else column.is_not(None)
    if down:
        below = column < value
        return or_(below, column.is_(None)) if column.nullable else below
    return column > value


def _condition(listing: Listing, filter: Filter) -> ColumnElement[bool]:
    column = listing.column(filter.name)
    if column is None and filter.name == "tags":
        return false()
    if column is None:
        raise Refused(f"Lists cannot be filtered by '{filter.name}'.")
    kind = column.type
    if filter.name == "tags":
        return _tagged(column, filter)
    if isinstance(kind, UTCDateTime):
        return _at(column, filter)
    if filter.operator == "has":
        if not hasattr(kind, "length"):
            raise Refused(f"Operator 'has' needs a text; '{filter.name}' is none.")
        return column.contains(_plain(filter.value))
    if isinstance(kind, JSONText):
        if filter.operator not in ("eq", "neq"):
            raise Refused(f"Only equality is known for '{filter.name}'.")
        return _COMPARE[filter.operator](column, filter.value)
    values = filter.value if isinstance(filter.value, list) else [filter.value]
    values = [_typed(column, filter.name, value) for value in values]
    if filter.operator == "in":
        return column.in_(values)
    if filter.operator == "nin":
        return column.not_in(values)
    if values[0] is None:
        return column.is_(None) if filter.operator == "eq" else column.is_not(None)
    return _COMPARE[filter.operator](column, values[0])


def _plain(text: Any) -> str:
    if not isinstance(text, str):
        raise Refused(f"Operator 'has' needs a text, got {text!r}.")
    return text


def _typed(column: Column[Any], name: str, value: Any) -> Any:
    """*value* as the column keeps it."""
    if value is None:
        return None
    if isinstance(column.type, Boolean):
        if isinstance(value, bool):
            return value
        return str(value).strip().lower() not in ("", "false", "0", "no", "off", "n", "f")
    if isinstance(column.type, Integer):
        try:
            number = int(value)
        except ValueError:
            raise Refused(
                f"Invalid input for field/attribute {name}. Value: '{value}'. "
                f"unable to convert to int. Error: invalid literal for int() with base 10: "
                f"'{value}'"
            ) from None
        if abs(number) > 2**31 - 1:
            raise Refused(
                f"Invalid input for field/attribute {name}. Value: '{value}'. Out of range."
            )
        return number
    return value


def _tagged(column: Column[Any], filter: Filter) -> ColumnElement[bool]:
    """All the given tags are there; they are looked for in the stored text."""
    if filter.operator != "eq":
        raise Refused("Tags can only be compared for equality.")
    wanted = filter.value if isinstance(filter.value, list) else str(filter.value).split(",")
    from_text = type_coerce(column, Text)
    return and_(
        true(), *(from_text.contains(dumps(tag.strip()), autoescape=True) for tag in wanted if tag)
    )


def _at(column: Column[Any], filter: Filter) -> ColumnElement[bool]:
    """A comparison of times, by the second when the value has no fraction: as they are shown."""
    if filter.operator in ("in", "nin"):
        spans = [_span(filter.name, text) for text in filter.value]
        inside = or_(false(), *(and_(column >= a, column < b) for a, b in spans))
        return inside if filter.operator == "in" else ~inside
    if filter.operator == "has":
        raise Refused(f"Operator 'has' needs a text; '{filter.name}' is a time.")
    start, end = _span(filter.name, filter.value)
    return {
        "eq": and_(column >= start, column < end),
        "neq": or_(column < start, column >= end),
        "gt": column >= end,
        "gte": column >= start,
        "lt": column < start,
        "lte": column < end,
    }[filter.operator]


def _span(name: str, text: Any) -> tuple[datetime, datetime]:
    """The first moment that *text* means, and the first that it does not mean any more."""
    try:
        start = datetime.fromisoformat(str(text).strip())
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        step = timedelta(microseconds=1) if start.microsecond else timedelta(seconds=1)
        return start, start + step
    except (ValueError, OverflowError):
        raise Refused(
            f"Invalid input for field/attribute {name}. Value: '{text}'. "
            f"Expected a date and time like 2026-01-31 10:00:00."
        ) from None


__all__ = ["OPERATORS", "Filter", "Listing", "Page", "fetch", "one", "order"]
