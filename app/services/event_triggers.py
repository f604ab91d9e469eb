"""Event triggers: workflows started by messages on a bus."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models import EventTrigger, utcnow

from . import definitions
from .actors import Actor, require_owner, require_scope, visible
from .errors import Duplicate, NotFound, Refused

NEEDED = ("event", "topic", "workflow_id", "exchange")
#: What tells where messages come from does not change.
FIXED = ("exchange", "topic", "event")


def create(session: Session, actor: Actor, values: Mapping[str, Any]) -> EventTrigger:
    """Store a trigger."""
    if not all(values.get(name) for name in NEEDED):
        raise Refused(
            "Params {'event', 'topic', 'workflow_id', 'exchange'} must be provided for creating "
            "event trigger."
        )
    scope = values.get("scope") or "private"
    require_scope(actor, "event_triggers", scope)
    workflow = _workflow(session, actor, values["workflow_id"])
    given, params = values.get("workflow_input") or {}, values.get("workflow_params") or {}
    definitions.check_input(session, workflow, given, params)
    row = EventTrigger(
        id=str(uuid.uuid4()),
        name=values.get("name") or "",
        scope=scope,
        project_id=actor.project_id,
        workflow_id=workflow.id,
        workflow_input=given,
        workflow_params=params,
        exchange=values["exchange"],
        topic=values["topic"],
        event=values["event"],
        created_at=utcnow(),
    )
    _flush(session, row)
    return row


def get(session: Session, actor: Actor, id: str, *, lock: bool = False) -> EventTrigger:
    """The trigger of that id that *actor* sees."""
    query = select(EventTrigger).where(EventTrigger.id == id, visible(EventTrigger, actor))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(query)
    if row is None:
        raise NotFound(f"Event trigger not found [id={id}].")
    return row


def update(session: Session, actor: Actor, id: str, values: Mapping[str, Any]) -> EventTrigger:
    """Change a trigger, but not where its messages come from."""
    if any(values.get(name) for name in FIXED):
        raise Refused(f"Can not update fields {list(FIXED)} of event trigger.")
    row = get(session, actor, id, lock=True)
    require_owner(actor, row)
    if values.get("scope"):
        require_scope(actor, "event_triggers", values["scope"])
        row.scope = values["scope"]
    if values.get("workflow_id"):
        row.workflow_id = _workflow(session, actor, values["workflow_id"]).id
    if values.get("name") is not None:
        row.name = values["name"]
    for name in ("workflow_input", "workflow_params"):
        if values.get(name) is not None:
            setattr(row, name, values[name])
    workflow = _workflow(session, actor, row.workflow_id)
    definitions.check_input(session, workflow, row.workflow_input, row.workflow_params)
    if session.is_modified(row):
        row.updated_at = utcnow()
    _flush(session, row)
    return row


def delete(session: Session, actor: Actor, id: str) -> None:
    """Delete a trigger; what it has started goes on."""
    row = get(session, actor, id, lock=True)
    require_owner(actor, row)
    session.delete(row)
    session.flush()


def _workflow(session: Session, actor: Actor, id: str) -> Any:
    try:
        return definitions.get_workflow(session, actor, id)
    except NotFound:
        raise NotFound(f"Workflow not found [workflow_id={id}]") from None


def _flush(session: Session, row: EventTrigger) -> None:
    """Write now; the same trigger may exist already."""
    keys = ("exchange", "topic", "event", "workflow_id", "project_id")
    shown = ", ".join(str(getattr(row, key)) for key in keys[:-1])
    duplicate = Duplicate(f"Duplicate entry for EventTrigger {list(keys)}: {shown}, None")
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise duplicate from err
