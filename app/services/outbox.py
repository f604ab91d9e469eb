"""Messages that leave with a transaction: written in it, sent after it, deleted when sent.

A process that dies in between leaves the row behind, and the sweeper sends it. So a message may
arrive twice, and none is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from app.broker import Broker, BrokerUnavailable, Message
from app.models import Database, OutboxMessage, utcnow

log = logging.getLogger(__name__)

_KEY = "celeriac.outbox"


def add(session: Session, messages: Iterable[Message]) -> None:
    """Have *messages* sent once the transaction of *session* is committed."""
    session.info.setdefault(_KEY, []).extend(messages)


@contextmanager
def unit_of_work(database: Database, broker: Broker) -> Iterator[Session]:
    """A session whose changes are committed at the end, and whose messages leave after that.

    If the broker is away the messages stay behind for the sweeper; the caller does not fail.
    """
    with database.sessions() as session:
        with session.begin():
            yield session
            messages: list[Message] = session.info.pop(_KEY, [])
            row_id = _keep(session, messages) if messages else None
        if row_id is None:
            return
        try:
            broker.send(messages)
        except BrokerUnavailable as err:
            log.warning("%d messages stay in the outbox: %s", len(messages), err)
            return
        with session.begin():
            if not database.sqlite:
                # Losing this deletion in a crash only means that the messages are sent twice.
                session.execute(text("SET LOCAL synchronous_commit TO off"))
            session.execute(delete(OutboxMessage).where(OutboxMessage.id == row_id))


def _keep(session: Session, messages: list[Message]) -> int:
    row = session.execute(
        insert(OutboxMessage)
        .values(messages=[message.dump() for message in messages], created_at=utcnow())
        .returning(OutboxMessage.id)
    )
    return int(row.scalar_one())


def resend(database: Database, broker: Broker, *, older_than: timedelta, limit: int = 100) -> int:
    """Send what was left behind for longer than *older_than*; how many rows were sent.

    Raises BrokerUnavailable when the broker is still away.
    """
    with database.sessions() as session, session.begin():
        rows = session.execute(
            select(OutboxMessage.id, OutboxMessage.messages)
            .where(OutboxMessage.created_at < utcnow() - older_than)
            .order_by(OutboxMessage.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        for _, messages in rows:
            broker.send([Message.load(message) for message in messages])
        if rows:
            session.execute(delete(OutboxMessage).where(OutboxMessage.id.in_([r[0] for r in rows])))
        return len(rows)
