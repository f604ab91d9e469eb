"""Column types: JSON kept as text, times kept in UTC."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import DateTime, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def dumps(value: Any) -> str:
    """JSON text of *value*, compact, keys in their order.

    orjson is several times faster but refuses integers beyond 64 bits and keys that are not
    text; the standard library writes those.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"))


#: So many digits may not fit 64 bits, and orjson would make a rounded float of them.
_LONG_NUMBER = re.compile(r"[0-9]{19}")


def loads(text: str) -> Any:
    """The value of a JSON *text*."""
    if _LONG_NUMBER.search(text):
        return json.loads(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # The standard library reads what it wrote: big integers, NaN.
        return json.loads(text)


class JSONText(TypeDecorator[Any]):
    """Any JSON value, stored as text.

    Text and not JSONB: a value comes back exactly as it went in (order of keys, NUL in strings,
    big numbers), and nothing in the database looks inside.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else loads(value)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware time, got {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
