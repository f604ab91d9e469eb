"""Timers: events to be applied later.

The row is the truth. It is written in the transaction that wants the timer, and it goes when the
event has been applied or nobody wants it any more. Until then it comes up again and again: whoever
finds it due sends its event and moves its time a little on, so that a message that is lost on its
way costs seconds, and never the timer. An event that comes twice means nothing the second time,
since it names the attempt it belongs to.

What falls due before the next tick leaves at once with a short delay, for precision; the engine
holds it until then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from app.broker import ENGINE_APPLY, ENGINE_QUEUE, BrokerUnavailable, Message
from app.core import events
from app.models.rows import DelayedCall
from app.models.session import Database, utcnow
from app.services import outbox
from app.services.clock import clock, database_now
from app.services.platform import Platform
from app.services.ticks import TICK

#: How many seconds ahead a tick looks: further than the next one, which may be late.
HORIZON = 4.0
#: Seconds after which a timer that was sent but not applied is sent again.
AGAIN = 20.0
#: Most timers sent at once.
BATCH = 500
#: Most seconds that one tick takes.
LONGEST = 5.0
#: The key in an event's message that names the timer it came from.
TIMER_ID = "timer_id"

_calls: Any = DelayedCall.__table__
_ids: Any = bindparam("ids", expanding=True)
_INSERT = insert(_calls)
_OF_IDS = delete(_calls).where(_calls.c.id.in_(_ids))
_OF_TASKS = delete(_calls).where(_calls.c.task_execution_id.in_(_ids))
_OF_EXECUTIONS = delete(_calls).where(_calls.c.workflow_execution_id.in_(_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer to be set."""

    id: str
    execution_id: str
    task_id: str | None
    #: When the event is to be applied, by this host's clock.
    due_at: datetime
    event: events.Event | Mapping[str, Any]


def add(session: Session, timers: Iterable[Timer]) -> None:
    """Have the events of *timers* applied when each is due."""
    found = list(timers)
    if not found:
        return
    now, database_time = utcnow(), database_now(session)
    rows, messages = [], []
    for timer in found:
        event = timer.event
        data = dict(events.dump(event)) if isinstance(event, events.Event) else dict(event)
        seconds = max(0.0, (timer.due_at - now).total_seconds())
        soon = seconds <= TICK
        if soon:
            messages.append(_message(timer.id, timer.execution_id, data, in_seconds=seconds))
        rows.append(
            {
                "id": timer.id,
                "workflow_execution_id": timer.execution_id,
                "task_execution_id": timer.task_id,
                "due_at": database_time + timedelta(seconds=seconds + AGAIN if soon else seconds),
                "event": data,
            }
        )
    session.connection().execute(_INSERT, rows)
    outbox.add(session, messages)


def cancel(
    session: Session, *, task_ids: Collection[str] = (), execution_ids: Collection[str] = ()
) -> None:
    """Forget the timers of tasks, and all of executions."""
    for statement, ids in ((_OF_TASKS, task_ids), (_OF_EXECUTIONS, execution_ids)):
        if ids:
            session.connection().execute(statement, {"ids": sorted(ids)})


def applied(session: Session, ids: Iterable[str]) -> None:
    """Forget timers whose events are applied in the transaction of *session*, or have been."""
    ids = sorted(set(ids))
    if ids:
        session.connection().execute(_OF_IDS, {"ids": ids})


def run_due(platform: Platform, *, horizon: float = HORIZON) -> int:
    """Send the timers that are due within *horizon* seconds; how many there were.

    May run in several places at once: a timer is taken by one of them. If the broker does not
    take the messages, the timers come up again.
    """
    sent = 0
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        messages = _take(platform.database, horizon)
        if not messages:
            break
        try:
            platform.broker.send(messages)
        except BrokerUnavailable:
            break
        sent += len(messages)
        if len(messages) < BATCH:
            break
    return sent


def _take(database: Database, horizon: float) -> list[Message]:
    """The messages of timers that are due, each moved on so that nobody else takes it."""
    with database.read() as session:
        # Almost always there is nothing to do: find out without a lock.
        until = clock(session, timedelta(seconds=horizon))
        due = select(_calls.c.id).where(_calls.c.due_at <= until).limit(1)
        if session.execute(due).first() is None:
            return []
    with database.sessions.begin() as session:
        now = database_now(session)
        rows = session.execute(
            select(
                DelayedCall.id,
                DelayedCall.workflow_execution_id,
                DelayedCall.event,
                DelayedCall.due_at,
            )
            .where(DelayedCall.due_at <= now + timedelta(seconds=horizon))
            .order_by(DelayedCall.due_at)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        if not rows:
            return []
        session.execute(
            update(DelayedCall)
            .where(DelayedCall.id.in_([row.id for row in rows]))
            .values(due_at=now + timedelta(seconds=AGAIN)),
            execution_options={"synchronize_session": False},
        )
    return [
        _message(
            row.id,
            row.workflow_execution_id,
            row.event,
            in_seconds=(row.due_at - now).total_seconds(),
        )
        for row in rows
    ]


def _message(
    id: str, execution_id: str | None, event: Mapping[str, Any], *, in_seconds: float
) -> Message:
    options = {"due": time.time() + in_seconds} if in_seconds > 0 else {}
    return Message(
        task=ENGINE_APPLY,
        queue=ENGINE_QUEUE,
        args=[execution_id, {**event, TIMER_ID: id}],
        options=options,
    )
