"""Firing triggers: by the clock, and by messages that arrive on a bus.

A trigger starts each execution under an id that follows from the trigger and from what fired it
(a slot, a message). So whatever comes twice - a tick, a message, a crash and its repetition -
starts one execution.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.core import cron
from app.core.errors import CoreError
from app.core.event_definitions import EventDefinition, convert, matches
from app.core.expressions import ExpressionError
from app.models import CronTrigger, EventTrigger, WorkflowDefinition, utcnow

from . import executions, maintenance
from .actors import Actor
from .clock import clock, database_now
from .errors import NotFound, ServiceError
from .executions import Wanted
from .outbox import unit_of_work
from .platform import Platform

log = logging.getLogger(__name__)

#: Cron triggers that one tick fires at most; the next tick fires the rest.
MOST_AT_ONCE = 1000
#: A slot missed by more is one that was missed: the policy for catching up decides about it.
LATE = timedelta(minutes=1)
_LONGEST_ERROR = 1000


# --- cron --------------------------------------------------------------------------------------


def fire_due(platform: Platform, *, now: datetime | None = None) -> int:
    """Fire the cron triggers that are due; how many executions were started.

    May run in several places at once: each slot is fired by one of them.
    """
    if not platform.config.cron_triggers:
        return 0
    with platform.database.read() as session:
        due = session.scalars(
            select(CronTrigger.id)
            .where(CronTrigger.next_execution_time <= (now or clock(session)))
            .order_by(CronTrigger.next_execution_time)
            .limit(MOST_AT_ONCE)
        ).all()
        if not due or maintenance.status(session) != maintenance.RUNNING:
            # Nothing is advanced: what became due fires once when maintenance is over.
            return 0
    started = 0
    for trigger_id in due:
        try:
            started += fire(platform, trigger_id, now=now)
        except OperationalError:
            raise
        except Exception:
            # A fault of ours with one trigger: the others must not wait for its repair. It stays
            # due, so the next tick tries again.
            log.exception("cron trigger %s could not be fired", trigger_id)
    return started


def fire(platform: Platform, trigger_id: str, *, now: datetime | None = None) -> bool:
    """Fire one cron trigger if it is due; whether an execution was started.

    The trigger is advanced and the execution created in one transaction: no slot is lost in
    between, and none is fired twice.
    """
    with unit_of_work(platform.database, platform.broker) as session:
        moment = now or database_now(session)
        trigger = session.get(CronTrigger, trigger_id)
        if trigger is None or trigger.next_execution_time is None:
            return False
        slot = trigger.next_execution_time
        if slot > moment or maintenance.status(session) != maintenance.RUNNING:
            return False
        late = moment - slot > LATE
        skipped = late and platform.config.cron_catch_up == "skip"
        following, remaining = _advance(trigger, slot, moment, counts=not skipped)
        # Whoever changes the slot fires it. The lock this takes on the row holds off the others
        # until the execution is there; then they find another slot.
        taken = session.execute(
            update(CronTrigger)
            .where(CronTrigger.id == trigger_id, CronTrigger.next_execution_time == slot)
            .values(
                next_execution_time=following, remaining_executions=remaining, updated_at=utcnow()
            ),
            execution_options={"synchronize_session": False},
        )
        if taken.rowcount != 1:  # type: ignore[attr-defined]
            return False
        started = False
        if skipped:
            log.warning("cron trigger %s skips its slot %s, now long past", trigger_id, slot)
        else:
            started = _start_by_clock(session, platform, trigger, slot)
        if remaining == 0 or following is None:
            session.execute(
                delete(CronTrigger).where(CronTrigger.id == trigger_id),
                execution_options={"synchronize_session": False},
            )
        return started


def _advance(
    trigger: CronTrigger, slot: datetime, moment: datetime, *, counts: bool
) -> tuple[datetime | None, int | None]:
    """The slot after *slot*, and how many are left then; no slot: there will be no other."""
    remaining = trigger.remaining_executions
    if remaining is not None and counts:
        remaining -= 1
    if remaining is not None and remaining <= 0:
        return None, 0
    if trigger.pattern == cron.NO_PATTERN and trigger.first_execution_time is not None:
        return None, remaining
    try:
        following = cron.next_slot(trigger.pattern, slot=slot, now=moment, zone=trigger.time_zone)
    except CoreError as err:
        # Its pattern has no further match, or its zone is known here no longer.
        log.warning("cron trigger %s ends: %s", trigger.id, err)
        return None, remaining
    return following, remaining


def _start_by_clock(
    session: Session, platform: Platform, trigger: CronTrigger, slot: datetime
) -> bool:
    error = _start(
        session,
        platform,
        trigger,
        id=execution_id_of_slot(trigger.id, slot),
        workflow=trigger.workflow_name,
        namespace=trigger.workflow_namespace,
        params=dict(trigger.workflow_params or {}),
        description=describe("cron", trigger.id),
    )
    if error is not None or trigger.last_error is not None:
        _note_error(session, CronTrigger, trigger.id, error)
    return error is None


def execution_id_of_slot(trigger_id: str, slot: datetime) -> str:
    """The id of the execution that a cron trigger starts for *slot*."""
    return str(uuid.uuid5(uuid.UUID(trigger_id), slot.astimezone(UTC).isoformat()))


# --- events ------------------------------------------------------------------------------------


class Paused(Exception):
    """The installation is being paused: ask again later, the messages have not been taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """A message that arrived on a bus."""

    exchange: str
    topic: str
    event_type: str
    #: The same if the message comes again; None when the sender gave it none.
    id: str | None
    payload: Any = None
    publisher: str | None = None
    timestamp: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def as_event(self) -> dict[str, Any]:
        """The message as expressions of event definitions see it."""
        return {
            "event_type": self.event_type,
            "payload": self.payload,
            "publisher": self.publisher,
            "timestamp": self.timestamp,
            "context": dict(self.context),
        }


def sources(session: Session) -> dict[tuple[str, str], datetime]:
    """Every (exchange, topic) that some event trigger listens to, and since when."""
    rows = session.execute(
        select(
            EventTrigger.exchange, EventTrigger.topic, func.min(EventTrigger.created_at)
        ).group_by(EventTrigger.exchange, EventTrigger.topic)
    )
    return {(exchange, topic): since for exchange, topic, since in rows}


def receive(
    platform: Platform, definitions: Sequence[EventDefinition], messages: Sequence[BusMessage]
) -> int:
    """Start what the triggers for *messages* want, in one transaction; how many executions.

    When it returns the executions are there and the messages may be acknowledged. A message that
    comes again starts nothing.
    """
    with unit_of_work(platform.database, platform.broker) as session:
        if maintenance.status(session) != maintenance.RUNNING:
            raise Paused
        triggers = session.scalars(
            select(EventTrigger)
            .where(
                EventTrigger.exchange.in_({each.exchange for each in messages}),
                EventTrigger.topic.in_({each.topic for each in messages}),
            )
            .order_by(EventTrigger.id)
        ).all()
        return sum(
            _start_by_event(session, platform, definitions, trigger, message)
            for message in messages
            for trigger in triggers
            if _wants(platform, trigger, message)
        )


def _wants(platform: Platform, trigger: EventTrigger, message: BusMessage) -> bool:
    if (trigger.exchange, trigger.topic) != (message.exchange, message.topic):
        return False
    if not matches(trigger.event, message.event_type):
        return False
    if platform.config.auth_mode == "none":
        # Everything belongs to one project, whatever the bus calls it.
        return True
    return trigger.scope == "public" or message.context.get("project_id") == trigger.project_id


def _start_by_event(
    session: Session,
    platform: Platform,
    definitions: Sequence[EventDefinition],
    trigger: EventTrigger,
    message: BusMessage,
) -> bool:
    workflow = session.get(WorkflowDefinition, trigger.workflow_id)
    try:
        event_params = convert(definitions, message.as_event())
    except ExpressionError as err:
        _note_error(session, EventTrigger, trigger.id, f"the event cannot be converted: {err}")
        return False
    error = _start(
        session,
        platform,
        trigger,
        id=execution_id_of_message(trigger.id, message),
        workflow=trigger.workflow_id,
        namespace=workflow.namespace if workflow else "",
        params={**(trigger.workflow_params or {}), "event_params": event_params},
        description=describe("event", trigger.id, name=trigger.name),
    )
    if error is not None or trigger.last_error is not None:
        _note_error(session, EventTrigger, trigger.id, error)
        trigger.last_error = error
    return error is None


def execution_id_of_message(trigger_id: str, message: BusMessage) -> str:
    """The id of the execution that an event trigger starts for *message*."""
    if message.id is None:
        return str(uuid.uuid4())
    name = json.dumps([message.exchange, message.topic, message.id])
    return str(uuid.uuid5(uuid.UUID(trigger_id), name))


# --- both --------------------------------------------------------------------------------------


def describe(kind: str, trigger_id: str, *, name: str | None = None) -> str:
    """The description of an execution that a trigger of *kind* (cron, event) starts: JSON text."""
    triggered_by = {"type": f"{kind}_trigger", "id": trigger_id}
    if name is not None:
        triggered_by["name"] = name
    return json.dumps(
        {
            "description": f"Workflow execution created by {kind} trigger '({trigger_id})'.",
            "triggered_by": triggered_by,
        }
    )


def _start(
    session: Session,
    platform: Platform,
    trigger: CronTrigger | EventTrigger,
    *,
    id: str,
    workflow: str,
    namespace: str,
    params: Mapping[str, Any],
    description: str,
) -> str | None:
    """Create the execution, in the name of the trigger's project; None, or why it cannot be."""
    actor = Actor(project_id=trigger.project_id)
    try:
        with session.begin_nested():
            executions.create(
                session,
                platform,
                actor,
                Wanted(
                    workflow=workflow,
                    namespace=namespace,
                    input=dict(trigger.workflow_input or {}),
                    params=dict(params),
                    description=description,
                    id=id,
                ),
            )
    except IntegrityError:
        # Somebody else has just created it. Anything else of this kind comes up again.
        try:
            executions.get(session, actor, id)
        except NotFound:
            raise
        return None
    except (ServiceError, CoreError, ExpressionError) as err:
        log.warning("trigger %s cannot start workflow %s: %s", trigger.id, workflow, err)
        return str(err)
    return None


def _note_error(
    session: Session, model: type[CronTrigger] | type[EventTrigger], id: str, error: str | None
) -> None:
    """Keep why a start failed, or forget it after one that did not."""
    session.execute(
        update(model).where(model.id == id).values(last_error=error and error[:_LONGEST_ERROR]),
        execution_options={"synchronize_session": False},
    )
