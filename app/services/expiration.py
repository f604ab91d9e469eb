"""What is old enough goes: finished executions by policy, entries of the event log, dead letters.

Everything is deleted in small transactions, until there is nothing left or the time is up; the
next call goes on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from app.core.states import TERMINAL
from app.models import WorkflowExecution

from . import event_log, journal, notifications
from .clock import database_now
from .platform import Platform

log = logging.getLogger(__name__)

#: Root executions deleted in one transaction, each with all below it.
EXECUTIONS = 50
#: Rows of other kinds deleted in one transaction.
ROWS = 1000
#: Most seconds that one call takes.
LONGEST = 10.0


def expire(
    platform: Platform, *, now: datetime | None = None, longest: float = LONGEST
) -> Counter[str]:
    """Delete what the settings say is old enough; how many of each kind.

    May run in several places at once: they take different rows.
    """
    config = platform.config
    deleted: Counter[str] = Counter()
    deadline = time.monotonic() + longest

    def repeat(kind: str, chunk: int, step: Callable[[Session, datetime], int]) -> None:
        while time.monotonic() < deadline:
            with platform.database.sessions.begin() as session:
                count = step(session, now or database_now(session))
            deleted[kind] += count
            if count < chunk:
                return

    ignored = {state.upper() for state in config.expiration_ignored_states}
    states = sorted(str(state) for state in TERMINAL if str(state) not in ignored)
    if config.expiration_older_than > 0:
        age = timedelta(minutes=config.expiration_older_than)
        repeat("executions", EXECUTIONS, lambda s, t: _old(s, states, older_than=t - age))
    if config.expiration_max_finished > 0:
        most = config.expiration_max_finished
        repeat("executions", EXECUTIONS, lambda s, t: _too_many(s, states, most=most))
    if config.event_retention_days > 0:
        kept = timedelta(days=config.event_retention_days)
        repeat("events", ROWS, lambda s, t: event_log.prune(s, older_than=t - kept, limit=ROWS))
        repeat("journal", ROWS, lambda s, t: journal.prune(s, older_than=t - kept, limit=ROWS))
        repeat(
            "notifications",
            ROWS,
            lambda s, t: notifications.prune(s, older_than=t - kept, limit=ROWS),
        )
    if deleted.total():
        log.info("expired: %s", dict(deleted))
    return deleted


def _old(session: Session, states: list[str], *, older_than: datetime) -> int:
    row = WorkflowExecution
    chosen = session.scalars(
        select(row.id)
        .where(
            row.task_execution_id.is_(None),
            row.state.in_(states),
            func.coalesce(row.updated_at, row.created_at) < older_than,
            # Says nothing new, but there is an index for it.
            row.created_at < older_than,
        )
        .order_by(row.created_at)
        .limit(EXECUTIONS)
        # Whoever reruns one right now has it locked, and keeps it.
        .with_for_update(skip_locked=True)
    ).all()
    return _delete(session, list(chosen))


def _too_many(session: Session, states: list[str], *, most: int) -> int:
    row = WorkflowExecution
    finished = (row.task_execution_id.is_(None), row.state.in_(states))
    surplus = (session.scalar(select(func.count()).select_from(row).where(*finished)) or 0) - most
    if surplus <= 0:
        return 0
    chosen = session.scalars(
        select(row.id)
        .where(*finished)
        .order_by(func.coalesce(row.updated_at, row.created_at), row.id)
        .limit(min(surplus, EXECUTIONS))
        .with_for_update(skip_locked=True)
    ).all()
    return _delete(session, list(chosen))


def _delete(session: Session, roots: list[str]) -> int:
    """Delete root executions with all below them. Their tasks, actions and the rest follow."""
    if roots:
        row = WorkflowExecution
        session.execute(
            delete(row).where(or_(row.id.in_(roots), row.root_execution_id.in_(roots))),
            execution_options={"synchronize_session": False},
        )
    return len(roots)
