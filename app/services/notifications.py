"""Delivering events to publishers: in order, at least once, and each lane for itself.

A lane is what one publisher gets of one execution. Its first pending row, the head, says when the
lane is to be looked at: whoever finds that moment past moves it on and so has the lane for
himself, until the moment he moved it to. What is delivered is deleted. A head that could not be
delivered waits, ever longer, and all behind it wait with it; after its attempts, or its time, it
becomes a dead letter, and the lane goes on.

No row is locked and no connection held while a publisher takes its time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.broker import NOTIFIER_DELIVER, NOTIFY_QUEUE, BrokerUnavailable, Message
from app.config import Config
from app.models import Database, Notification
from app.notify.delivery import Delivery, DeliveryFailed, Publisher, Undeliverable
from app.notify.destinations import Destinations

from . import outbox
from .actors import Actor
from .clock import clock, database_now
from .errors import NotFound, Refused
from .event_log import AT_ONCE
from .platform import Platform

if TYPE_CHECKING:
    from app.notify.registry import Publishers

log = logging.getLogger(__name__)

PENDING = "pending"
DEAD = "dead"
_N: Any = Notification.__table__.c

#: Rows delivered under one claim.
BATCH = 20
#: Seconds after which an event that nobody has begun to deliver is sent for again.
LOST = 10.0
#: Longest seconds between two attempts.
LONGEST_DELAY = 300.0
#: Lanes that one tick sends for.
LANES = 500
#: Longest text kept of an error.
_LONGEST_ERROR = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things last."""

    #: After so many attempts, or at that age, an event becomes a dead letter.
    attempts: int
    age: timedelta
    #: Seconds that a claim lasts; a delivery takes less.
    lease: float

    @classmethod
    def from_config(cls, config: Config) -> Limits:
        """The limits that *config* sets."""
        return cls(
            attempts=config.notify_max_attempts,
            age=timedelta(hours=config.notify_max_hours),
            lease=config.notify_lease_seconds,
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """What one publisher gets of one execution."""

    execution_id: str
    publisher_key: str


def message(lane: Lane, *, claimed_until: datetime | None = None) -> Message:
    """What has *lane* delivered; *claimed_until* when whoever sends it has claimed it so."""
    return Message(
        task=NOTIFIER_DELIVER,
        queue=NOTIFY_QUEUE,
        args=[
            lane.execution_id,
            lane.publisher_key,
            claimed_until.isoformat() if claimed_until else None,
        ],
    )


def deliver(
    platform: Platform,
    publishers: Publishers,
    destinations: Destinations,
    lane: Lane,
    *,
    claimed_until: datetime | None = None,
) -> int:
    """Deliver what waits in *lane*, in order, until something is not taken; how many were.

    Returns at once when somebody else delivers it or it is not its time yet.
    """
    limits = Limits.from_config(platform.config)
    count = 0
    while True:
        rows, until = _claim(platform.database, lane, claimed_until, limits.lease)
        if not rows:
            return count
        taken, stopped = _deliver_rows(platform.database, publishers, destinations, rows, limits)
        count += taken
        if stopped:
            return count
        claimed_until = until


def _claim(
    database: Database, lane: Lane, claimed_until: datetime | None, lease: float
) -> tuple[list[Notification], datetime]:
    """The first rows of *lane*, now ours until the moment returned; none if they are not to be."""
    with database.sessions.begin() as session:
        now = database_now(session)
        head = session.scalar(
            _of(lane).order_by(Notification.id).limit(1).with_for_update(skip_locked=True)
        )
        # With SKIP LOCKED a row further back may look like the head while somebody has the head.
        if head is None or _has_earlier(session, head):
            return [], now
        if head.next_attempt_at > now and head.next_attempt_at != claimed_until:
            return [], now
        until = now + timedelta(seconds=lease)
        head.next_attempt_at = until
        rows = session.scalars(
            _of(lane).where(Notification.id >= head.id).order_by(Notification.id).limit(BATCH)
        )
        return list(rows), until


def _of(lane: Lane) -> Any:
    return select(Notification).where(
        Notification.workflow_execution_id == lane.execution_id,
        Notification.publisher_key == lane.publisher_key,
        Notification.state == PENDING,
    )


def _has_earlier(session: Session, row: Notification) -> bool:
    return bool(
        session.scalar(
            select(
                exists().where(
                    Notification.workflow_execution_id == row.workflow_execution_id,
                    Notification.publisher_key == row.publisher_key,
                    Notification.state == PENDING,
                    Notification.id < row.id,
                )
            )
        )
    )


def _deliver_rows(
    database: Database,
    publishers: Publishers,
    destinations: Destinations,
    rows: Sequence[Notification],
    limits: Limits,
) -> tuple[int, bool]:
    """Deliver *rows* of one lane; how many were taken, and whether the lane must wait now."""
    kind = rows[0].publisher.get("type")
    publisher = publishers.find(str(kind))
    # All rows of a lane have the same publisher object, and so the same destination.
    destination = publisher.destination(rows[0].publisher) if publisher else None
    done: list[int] = []
    begun = time.monotonic()
    for row in rows:
        if time.monotonic() - begun > limits.lease / 2:
            # A slow receiver: claim anew before the claim runs out.
            break
        try:
            if publisher is None:
                known = ", ".join(publishers.types)
                raise Undeliverable(f"there is no publisher of type {kind!r}, only {known}")
            wait = destinations.enter(destination)
            if wait > 0:
                _finish(database, done, postponed=row, wait=wait)
                return len(done), True
            _publish(publisher, destinations, destination, row)
            done.append(row.id)
        except Undeliverable as err:
            _finish(database, done)
            _bury(database, row, str(err))
            return len(done), False
        except DeliveryFailed as err:
            dead = _fail(database, done, row, str(err), limits)
            return len(done), not dead
    _finish(database, done)
    return len(done), False


def _publish(
    publisher: Publisher, destinations: Destinations, destination: str | None, row: Notification
) -> None:
    taken = False
    try:
        publisher.publish(_delivery(row))
        taken = True
    except Undeliverable:
        # The fault is the event's or the publisher object's, not the destination's.
        taken = True
        raise
    except DeliveryFailed:
        raise
    except Exception as err:
        # A plug-in may raise whatever it likes; it is its way to say no.
        log.warning("the publisher %r failed", row.publisher.get("type"), exc_info=True)
        raise DeliveryFailed(f"{type(err).__name__}: {err}") from err
    finally:
        destinations.leave(destination, taken=taken)


def _delivery(row: Notification) -> Delivery:
    return Delivery(
        key=f"{row.workflow_execution_id}-{row.number}-{row.publisher_key[:12]}",
        execution_id=row.workflow_execution_id,
        project_id=row.project_id,
        number=row.number,
        event=row.event,
        data=row.data,
        publisher=row.publisher,
        attempt=row.attempts + 1,
        created_at=row.created_at,
    )


def _finish(
    database: Database,
    done: Sequence[int],
    *,
    postponed: Notification | None = None,
    wait: float = 0.0,
) -> None:
    """Forget what was delivered; let the lane wait if something is *postponed*."""
    if not done and postponed is None:
        return
    with database.sessions.begin() as session:
        _forget(session, done)
        if postponed is not None:
            _delay_lane(session, postponed, wait)


def _fail(
    database: Database, done: Sequence[int], row: Notification, error: str, limits: Limits
) -> bool:
    """Note that *row* was not taken; True when it is a dead letter now."""
    attempts = row.attempts + 1
    with database.sessions.begin() as session:
        _forget(session, done)
        now = database_now(session)
        dead = attempts >= limits.attempts or now - row.created_at >= limits.age
        session.execute(
            update(Notification)
            .where(Notification.id == row.id)
            .values(
                attempts=attempts,
                last_error=error[:_LONGEST_ERROR],
                state=DEAD if dead else PENDING,
            )
        )
        if not dead:
            _delay_lane(session, row, backoff(attempts))
    if dead:
        log.warning(
            "event %s of execution %s is a dead letter after %d attempts: %s",
            row.event, row.workflow_execution_id, attempts, error,
        )  # fmt: skip
    return dead


def _bury(database: Database, row: Notification, error: str) -> None:
    with database.sessions.begin() as session:
        session.execute(
            update(Notification)
            .where(Notification.id == row.id)
            .values(state=DEAD, attempts=row.attempts + 1, last_error=error[:_LONGEST_ERROR])
        )
    log.warning(
        "event %s of execution %s cannot be delivered: %s",
        row.event, row.workflow_execution_id, error,
    )  # fmt: skip


def _forget(session: Session, ids: Sequence[int]) -> None:
    if ids:
        session.execute(delete(Notification).where(Notification.id.in_(ids)))


def _delay_lane(session: Session, head: Notification, seconds: float) -> None:
    # The rows behind the head too: else the tick would look at each of them again and again.
    session.execute(
        update(Notification)
        .where(
            Notification.workflow_execution_id == head.workflow_execution_id,
            Notification.publisher_key == head.publisher_key,
            Notification.state == PENDING,
        )
        .values(next_attempt_at=database_now(session) + timedelta(seconds=seconds))
    )


def backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts: doubling from one, with some chance in it."""
    seconds: float = min(LONGEST_DELAY, 2.0 ** min(attempts - 1, 30))
    # Chance, so that a thousand lanes that failed together do not come back together.
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - nothing secret in it


def tick(platform: Platform) -> int:
    """Send for lanes whose time has come or whose message was lost; how many.

    May run in several places at once: a lane is taken by one of them.
    """
    lanes: list[Message] = []
    with platform.database.read() as session:
        # Almost always there is nothing to do: find out without a lock, and first by one index.
        waiting = select(_N.id).where(_N.state == PENDING, _N.next_attempt_at <= clock(session))
        for query in (waiting, _due(session)):
            if session.execute(query.limit(1)).first() is None:
                return 0
    with platform.database.sessions.begin() as session:
        lease = timedelta(seconds=platform.config.notify_lease_seconds)
        until = database_now(session) + lease
        heads = session.scalars(
            _due(session)
            .order_by(Notification.next_attempt_at)
            .limit(LANES)
            .with_for_update(skip_locked=True, of=Notification)
        ).all()
        for head in heads:
            head.next_attempt_at = until
            lanes.append(
                message(Lane(head.workflow_execution_id, head.publisher_key), claimed_until=until)
            )
    try:
        platform.broker.send(lanes)
    except BrokerUnavailable as err:
        # The lanes come up again when the claims have run out.
        log.warning("%d lanes of notifications must wait: %s", len(lanes), err)
        return 0
    return len(lanes)


def _due(session: Session) -> Any:
    """Heads of lanes that should have been looked at by now."""
    earlier = aliased(Notification)
    return select(Notification).where(
        Notification.state == PENDING,
        Notification.next_attempt_at <= clock(session),
        or_(
            Notification.attempts > 0,
            Notification.next_attempt_at > AT_ONCE,
            # A fresh one is probably on its way.
            Notification.created_at <= clock(session, -timedelta(seconds=LOST)),
        ),
        ~exists().where(
            earlier.workflow_execution_id == Notification.workflow_execution_id,
            earlier.publisher_key == Notification.publisher_key,
            earlier.state == PENDING,
            earlier.id < Notification.id,
        ),
    )


# --- for people --------------------------------------------------------------------------------


def find(
    session: Session,
    actor: Actor,
    *,
    state: str | None = None,
    execution_id: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Notification]:
    """Events that wait or are dead, oldest first, with an id above *after*."""
    if state not in (None, PENDING, DEAD):
        raise Refused(f"state: expected {PENDING} or {DEAD}, got {state!r}")
    query = select(Notification).where(Notification.id > after)
    if not actor.is_admin:
        query = query.where(Notification.project_id == actor.project_id)
    if state is not None:
        query = query.where(Notification.state == state)
    if execution_id is not None:
        query = query.where(Notification.workflow_execution_id == execution_id)
    return list(session.scalars(query.order_by(Notification.id).limit(limit)))


def get(session: Session, actor: Actor, *, id: int) -> Notification:
    """The event *id* that waits or is dead; NotFound otherwise, also when it was delivered."""
    row = session.get(Notification, id)
    if row is None or not (actor.is_admin or row.project_id == actor.project_id):
        raise NotFound(f"Notification not found [id={id}]")
    return row


def resend(session: Session, actor: Actor, *, id: int) -> Notification:
    """Have a dead letter delivered again, with all its attempts before it."""
    row = get(session, actor, id=id)
    if row.state != DEAD:
        raise Refused(f"Notification {id} is no dead letter: it is delivered as soon as possible")
    _revive(session, [row])
    return row


def resend_all(session: Session, actor: Actor, *, execution_id: str | None = None) -> int:
    """Have dead letters delivered again, of one execution or all that *actor* sees; how many."""
    count = 0
    while True:
        rows = find(session, actor, state=DEAD, execution_id=execution_id, limit=500)
        if not rows:
            return count
        _revive(session, rows)
        session.flush()
        count += len(rows)


def _revive(session: Session, rows: Sequence[Notification]) -> None:
    now = database_now(session)
    for row in rows:
        row.state = PENDING
        row.attempts = 0
        row.next_attempt_at = AT_ONCE
        # Its age counts from now.
        row.created_at = now
    lanes = {Lane(row.workflow_execution_id, row.publisher_key): None for row in rows}
    outbox.add(session, [message(lane) for lane in lanes])


def discard(session: Session, actor: Actor, *, id: int) -> None:
    """Delete an event that waits or is dead: it is never delivered."""
    session.delete(get(session, actor, id=id))


def prune(session: Session, *, older_than: datetime, limit: int = 1000) -> int:
    """Delete at most *limit* dead letters older than *older_than*; how many."""
    ids = list(
        session.scalars(
            select(Notification.id)
            .where(Notification.state == DEAD, Notification.created_at < older_than)
            .limit(limit)
        )
    )
    _forget(session, ids)
    return len(ids)


def counts(session: Session) -> Mapping[str, int]:
    """How many events wait and how many are dead."""
    found = session.execute(
        select(Notification.state, func.count()).group_by(Notification.state)
    ).all()
    return {PENDING: 0, DEAD: 0} | dict(found)
