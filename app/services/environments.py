"""Environments: stored sets of values that executions may use."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models import Environment, utcnow

from .actors import Actor, require_owner, require_scope, visible
from .errors import Duplicate, NotFound, Refused


def create(session: Session, actor: Actor, values: Mapping[str, Any]) -> Environment:
    """Store an environment; only the name is needed."""
    if not values.get("name"):
        raise Refused("Name of the environment is not provided.")
    scope = values.get("scope") or "private"
    require_scope(actor, "environments", scope)
    row = Environment(
        id=str(uuid.uuid4()),
        name=values["name"],
        description=values.get("description"),
        variables=values.get("variables"),
        scope=scope,
        project_id=actor.project_id,
        created_at=utcnow(),
    )
    duplicate = Duplicate(
        f"Duplicate entry for Environment ['name', 'project_id']: {row.name}, None"
    )
    taken = select(Environment.id).where(
        Environment.name == row.name, Environment.project_id == actor.project_id
    )
    if session.scalar(taken) is not None:
        raise duplicate
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise duplicate from err
    return row


def get(session: Session, actor: Actor, name: str, *, lock: bool = False) -> Environment:
    """The environment of that name: the own project's, else a public one."""
    query = (
        select(Environment)
        .where(Environment.name == name, visible(Environment, actor, everything=False))
        .order_by(
            case((Environment.project_id == actor.project_id, 0), else_=1),
            Environment.created_at,
            Environment.id,
        )
        .limit(1)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(query)
    if row is None:
        raise NotFound(f"Environment not found [name={name}]")
    return row


def update(session: Session, actor: Actor, values: Mapping[str, Any]) -> Environment:
    """Change the environment that *values* name; variables are replaced as a whole."""
    if not values.get("name"):
        raise Refused("Name of the environment is not provided.")
    row = get(session, actor, values["name"], lock=True)
    require_owner(actor, row)
    if values.get("scope") is not None:
        require_scope(actor, "environments", values["scope"])
        row.scope = values["scope"]
    if "description" in values:
        row.description = values["description"]
    if values.get("variables") is not None:
        row.variables = values["variables"]
    if session.is_modified(row):
        row.updated_at = utcnow()
    session.flush()
    return row


def delete(session: Session, actor: Actor, name: str) -> None:
    """Delete an environment."""
    row = get(session, actor, name, lock=True)
    require_owner(actor, row)
    session.delete(row)
    session.flush()
