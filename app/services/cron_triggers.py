"""Cron triggers: workflows started by the clock."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import case, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.core import cron
from app.models import CronTrigger, utcnow

from . import definitions
from .actors import Actor, require_owner, require_scope, visible
from .errors import Duplicate, NotFound, Refused

_FIRST_TIME = "%Y-%m-%d %H:%M"


def create(session: Session, actor: Actor, values: Mapping[str, Any]) -> CronTrigger:
    """Store a trigger; everything about times is checked before the workflow is looked for."""
    name = values.get("name")
    if not name:
        raise Refused("Name of the cron trigger is not provided.")
    scope = values.get("scope") or "private"
    require_scope(actor, "cron_triggers", scope)
    now = utcnow()
    pattern, count = values.get("pattern"), values.get("remaining_executions")
    first = _first_time(values.get("first_execution_time"), now)
    if not pattern and first is None:
        raise Refused("Pattern or first_execution_time must be specified.")
    if not pattern and count is not None and count > 1:
        raise Refused("Pattern must be provided if count is superior to 1.")
    if pattern:
        upcoming = cron.next_time(pattern, after=now)
    if first is not None:
        upcoming = first
        if not pattern:
            count = 1
    identifier = values.get("workflow_id") or values.get("workflow_name")
    if not identifier:
        raise Refused("Workflow ID or workflow name must be provided. Workflow ID is recommended.")
    workflow = definitions.get_workflow(session, actor, identifier)
    given, params = values.get("workflow_input") or {}, values.get("workflow_params") or {}
    definitions.check_input(session, workflow, given, params)
    row = CronTrigger(
        id=str(uuid.uuid4()),
        name=name,
        scope=scope,
        project_id=actor.project_id,
        workflow_id=workflow.id,
        workflow_name=workflow.name,
        workflow_namespace=workflow.namespace,
        workflow_input=given,
        workflow_input_hash=_digest(given),
        workflow_params=params,
        workflow_params_hash=_digest(params),
        pattern=pattern or cron.NO_PATTERN,
        first_execution_time=first,
        next_execution_time=upcoming,
        remaining_executions=count,
        created_at=now,
    )
    duplicate = Duplicate(f"Duplicate entry for cron trigger ['name', 'project_id']: {name}, None")
    taken = select(CronTrigger.id).where(
        CronTrigger.name == name, CronTrigger.project_id == actor.project_id
    )
    if session.scalar(taken) is not None:
        raise duplicate
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise duplicate from err
    return row


def get(session: Session, actor: Actor, identifier: str, *, lock: bool = False) -> CronTrigger:
    """The trigger of that id or name that *actor* sees, the own project's first."""
    query = (
        select(CronTrigger)
        .where(
            or_(CronTrigger.id == identifier, CronTrigger.name == identifier),
            visible(CronTrigger, actor),
        )
        .order_by(
            case((CronTrigger.project_id == actor.project_id, 0), else_=1),
            CronTrigger.created_at,
            CronTrigger.id,
        )
        .limit(1)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(query)
    if row is None:
        raise NotFound(f"Cron trigger not found [identifier={identifier}]")
    return row


def delete(session: Session, actor: Actor, identifier: str) -> None:
    """Delete a trigger; what it has started goes on."""
    row = get(session, actor, identifier, lock=True)
    require_owner(actor, row)
    session.delete(row)
    session.flush()


def _first_time(text: str | None, now: datetime) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.strptime(text, _FIRST_TIME).replace(tzinfo=UTC)
    except ValueError as err:
        raise Refused(str(err)) from None
    if time < now + timedelta(seconds=60):
        raise Refused("first_execution_time must be at least 1 minute in the future.")
    return time


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
