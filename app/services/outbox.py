"""Messages that leave with a transaction: written in it, sent after it, deleted when sent.

A process that dies in between leaves the row behind, and the sweeper sends it. So a message may
arrive twice, and none is lost.

Nobody waits for the deletion: it rides along with the next transaction of the process, or comes
by itself a moment later. Messages to tasks that are not ours are the exception, since not every
one of those takes a second copy calmly: their row goes at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.broker import ACTION_RUN, OWN_TASKS, Broker, BrokerUnavailable, Message
from app.models import Database, OutboxMessage, Write, utcnow, write

log = logging.getLogger(__name__)

_KEY = "celeriac.outbox"
_LAST = "celeriac.last_writes"
#: Seconds after which sent rows are deleted when no other transaction takes them along; well
#: below the patience of the sweeper, which would send them again.
LINGER = 1.0

_outbox: Any = OutboxMessage.__table__


def add(session: Session, messages: Iterable[Message]) -> None:
    """Have *messages* sent once the transaction of *session* is committed."""
    session.info.setdefault(_KEY, []).extend(messages)


def write_last(session: Session, writes: Sequence[Write]) -> None:
    """Have *writes* leave together with the commit of the session's unit of work.

    For what nobody reads before: it costs no round trip of its own.
    """
    session.info.setdefault(_LAST, []).extend(writes)


@contextmanager
def unit_of_work(database: Database, broker: Broker) -> Iterator[Session]:
    """A session whose changes are committed at the end, and whose messages leave after that.

    If the broker is away the messages stay behind for the sweeper; the caller does not fail.
    """
    sent = _sent_rows(database)
    gone: Sequence[str] = ()
    try:
        with database.sessions() as session, session.begin():
            yield session
            messages: list[Message] = session.info.pop(_KEY, [])
            writes: list[Write] = session.info.pop(_LAST, [])
            if messages:
                gone = sent.take()
                row_id = str(uuid4())
                writes += _kept(row_id, messages, gone)
            if writes:
                write(session, writes, commit=True)
    except BaseException:
        sent.add(gone)
        raise
    if not messages:
        return
    try:
        broker.send(messages)
    except BrokerUnavailable as err:
        log.warning("%d messages stay in the outbox: %s", len(messages), err)
        return
    if OWN_TASKS.issuperset(message.task for message in messages):
        sent.add([row_id])
    else:
        _forget(database, [row_id])


def _kept(row_id: str, messages: Sequence[Message], gone: Sequence[str]) -> list[Write]:
    """What keeps *messages* in the row *row_id*, and deletes the rows that have *gone*."""
    row = {
        "id": row_id,
        "messages": [message.dump() for message in messages],
        "created_at": utcnow(),
    }
    return [Write("insert", _outbox, [row]), *_deletion(gone)]


def _deletion(ids: Sequence[str]) -> list[Write]:
    return [Write("delete", _outbox, [{"id": each} for each in ids])] if ids else []


def _forget(database: Database, ids: Sequence[str]) -> None:
    """Delete rows whose messages have left."""
    with database.sessions() as session, session.begin():
        if not database.sqlite:
            # Losing this deletion in a crash only means that the messages are sent twice.
            session.execute(text("SET LOCAL synchronous_commit TO off"))
        write(session, _deletion(ids))


class _SentRows:
    """Rows of one process whose messages have left and that are still to be deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._timer: threading.Timer | None = None
        self._flushing = threading.Lock()
        self._closed = False

    def take(self) -> Sequence[str]:
        """All of them: the caller deletes them, or adds them again."""
        with self._lock:
            taken, self._ids = self._ids, []
        return taken

    def add(self, ids: Sequence[str]) -> None:
        """Have rows deleted with the next transaction, or on their own if none comes."""
        if not ids:
            return
        with self._lock:
            self._ids.extend(ids)
            if self._timer is None and not self._closed:
                self._timer = threading.Timer(LINGER, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def _flush(self) -> None:
        with self._flushing:
            with self._lock:
                self._timer = None
            ids = self.take()
            try:
                if ids:
                    _forget(self._database, ids)
            except DBAPIError as err:
                log.info("%d sent rows stay in the outbox for now: %s", len(ids), err)
                self.add(ids)

    def close(self) -> None:
        """Delete them now; from now on nothing happens in the background."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._flush()


_sent: WeakKeyDictionary[Database, _SentRows] = WeakKeyDictionary()


def _sent_rows(database: Database) -> _SentRows:
    found = _sent.get(database)
    return found if found is not None else _sent.setdefault(database, _SentRows(database))


def close(database: Database) -> None:
    """Delete what has been sent, before *database* is closed: no thread uses it afterwards."""
    if (rows := _sent.pop(database, None)) is not None:
        rows.close()


def resend(
    database: Database,
    broker: Broker,
    *,
    older_than: timedelta,
    lost_at: datetime | None = None,
    limit: int = 100,
) -> int:
    """Send what was left behind for longer than *older_than*; how many rows were sent.

    It may have been sent before. The ledger knows a second copy of a request, unless it lost its
    data, at *lost_at*: then older requests for actions that must not run twice are left out, and
    whoever looks after those actions finds their outcome unknown.

    Raises BrokerUnavailable when the broker is still away.
    """
    with database.sessions() as session, session.begin():
        rows = session.execute(
            select(OutboxMessage.id, OutboxMessage.messages, OutboxMessage.created_at)
            .where(OutboxMessage.created_at < utcnow() - older_than)
            .order_by(OutboxMessage.created_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        for row in rows:
            messages = [Message.load(message) for message in row.messages]
            if lost_at is not None and row.created_at <= lost_at:
                messages = [each for each in messages if not _only_once(each)]
            if messages:
                broker.send(messages)
        if rows:
            session.execute(delete(OutboxMessage).where(OutboxMessage.id.in_([r.id for r in rows])))
        return len(rows)


def _only_once(message: Message) -> bool:
    """True for a request to run an action that is not safe to run again."""
    return message.task == ACTION_RUN and not message.args[0]["safe_rerun"]
