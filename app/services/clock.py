"""The one clock that decides when something is due: the database's.

Hosts may disagree about the time. What is stored with a time of the database and compared with
the time of the database is due when it should be, whoever stores and whoever looks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, func, literal, select
from sqlalchemy.orm import Session

from app.models.session import utcnow


def database_now(session: Session) -> datetime:
    """The time by the database's clock; an SQLite database has that of this host."""
    if session.get_bind().dialect.name == "sqlite":
        return utcnow()
    now = session.scalar(select(func.clock_timestamp()))
    assert isinstance(now, datetime)
    return now


def clock(session: Session, later: timedelta = timedelta(0)) -> Any:
    """The same as part of a statement, so that it need not be asked for; *later* is added.

    It stands still while the statement runs, and so can be looked up in an index.
    """
    if session.get_bind().dialect.name == "sqlite":
        return utcnow() + later
    return func.statement_timestamp(type_=DateTime(timezone=True)) + literal(later)
