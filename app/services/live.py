"""The event log while it grows: streams of entries for those who watch.

Each stream reads the log itself, from where its client is. All streams of a process share one
poller, which asks for the newest entry a few times a second and wakes them up. Streams are few:
each takes a thread of the web server.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.states import State
from app.models import Database, LogEvent, WorkflowExecution
from app.services import event_log
from app.services.clock import database_now
from app.services.errors import Unavailable

log = logging.getLogger(__name__)

#: Entries read at once.
ROW = 100
#: Seconds between two looks of the poller.
POLL = 0.25
#: Longest seconds that a stream waits before it looks itself: an entry that was committed after
#: newer ones does not change what the newest is.
WAIT = 2.0
#: Seconds of silence after which a client is told that the stream lives.
QUIET = 15.0
#: Seconds after which a stream ends; clients that want more come again.
LONGEST = 3600.0
#: Seconds after which a transaction that had drawn a number and is not seen has been rolled back.
SETTLED = timedelta(seconds=10)


class TooManyStreams(Unavailable):
    """All streams that this process may serve are taken."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing happened for a while."""


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing more will come."""


Item = LogEvent | Quiet | Over


class Streams:
    """The streams of one process, and what wakes them up."""

    def __init__(self, database: Database, *, most: int) -> None:
        self._database = database
        self._most = most
        self._changed = threading.Condition()
        self._open = 0
        self._newest = 0
        self._polling = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for one stream; TooManyStreams when there is none."""
        with self._changed:
            if self._open >= self._most:
                raise TooManyStreams(
                    f"This server has {self._most} event streams open and serves no more now."
                )
            self._open += 1
            if not self._polling:
                self._polling = True
                threading.Thread(target=self._poll, name="event-log", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1

    def _poll(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    self._polling = False
                    return
            try:
                with self._database.read() as session:
                    newest = event_log.last_id(session)
            except SQLAlchemyError as err:
                log.warning("the event log cannot be read: %s", err)
                time.sleep(WAIT)
                continue
            with self._changed:
                if newest != self._newest:
                    self._newest = newest
                    self._changed.notify_all()
            time.sleep(POLL)

    def _wait(self, seen: int) -> int:
        """Return when there may be something new since *seen*, which is what this returned last."""
        with self._changed:
            if self._newest == seen:
                self._changed.wait(WAIT)
            return self._newest

    def of_execution(self, execution_id: str, *, after: int) -> Iterator[Item]:
        """Entries of an execution with a number above *after*, until it has ended.

        The execution must exist. Take a place with ``one`` first.
        """

        def read(session: Session) -> tuple[Sequence[LogEvent], bool]:
            nonlocal after
            # In this order: an execution that has ended has written its last entry.
            state = session.scalar(
                select(WorkflowExecution.state).where(WorkflowExecution.id == execution_id)
            )
            rows = event_log.read(session, execution_id, after=after, limit=ROW)
            after = rows[-1].number if rows else after
            return rows, state is None or State(state).terminal

        return self._follow(read)

    def of_all(self, *, project_id: str | None, after: int) -> Iterator[Item]:
        """Entries of all executions of a project (None: of all) with an id above *after*."""

        def read(session: Session) -> tuple[Sequence[LogEvent], bool]:
            nonlocal after
            rows, after = read_settled(session, project_id=project_id, after=after, limit=ROW)
            return rows, False

        return self._follow(read)

    def _follow(self, read: Callable[[Session], tuple[Sequence[LogEvent], bool]]) -> Iterator[Item]:
        began = spoke = time.monotonic()
        seen = 0
        while time.monotonic() - began < LONGEST:
            with self._database.read() as session:
                rows, over = read(session)
                session.expunge_all()
            yield from rows
            if rows:
                spoke = time.monotonic()
                continue
            if over:
                yield Over()
                return
            seen = self._wait(seen)
            if time.monotonic() - spoke >= QUIET:
                spoke = time.monotonic()
                yield Quiet()


def read_settled(
    session: Session, *, project_id: str | None, after: int, limit: int
) -> tuple[Sequence[LogEvent], int]:
    """Entries of all executions of a project in order of their ids, and where to go on.

    An entry is given only when none with a smaller id can still come: ids are drawn when a
    transaction writes and seen when it commits, and so come out of order. A number that nobody
    has used for a while belongs to a transaction that was rolled back.
    """
    rows = session.execute(
        select(LogEvent.id, LogEvent.created_at)
        .where(LogEvent.id > after)
        .order_by(LogEvent.id)
        .limit(limit)
    ).all()
    settled = database_now(session) - SETTLED if rows else None
    upto = after
    for row in rows:
        if row.id != upto + 1 and settled is not None and row.created_at > settled:
            break
        upto = row.id
    if upto == after:
        return [], after
    query = select(LogEvent).where(LogEvent.id > after, LogEvent.id <= upto).order_by(LogEvent.id)
    if project_id is not None:
        query = query.where(LogEvent.project_id == project_id)
    return session.scalars(query).all(), upto
