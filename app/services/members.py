"""Members: private workflows shared with other projects."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models import ResourceMember, WorkflowDefinition, utcnow

from .actors import Actor
from .errors import Duplicate, NotFound, Refused

STATUSES = ("pending", "accepted", "rejected")


def share(session: Session, actor: Actor, workflow_id: str, *, member_id: str) -> ResourceMember:
    """Offer a private workflow of the own project to another project."""
    workflow = session.scalar(
        select(WorkflowDefinition).where(
            WorkflowDefinition.id == workflow_id,
            WorkflowDefinition.project_id == actor.project_id,
        )
    )
    if workflow is None:
        raise NotFound(f"Workflow not found [workflow_identifier={workflow_id}, namespace=]")
    if workflow.scope != "private":
        raise Refused("Only private resource could be shared.")
    row = ResourceMember(
        id=str(uuid.uuid4()),
        resource_id=workflow_id,
        resource_type="workflow",
        project_id=actor.project_id,
        member_id=member_id,
        status="pending",
        created_at=utcnow(),
    )
    duplicate = Duplicate(
        "Duplicate entry for ResourceMember ['resource_id', 'resource_type', 'member_id']: "
        f"{workflow_id}, workflow, {member_id}"
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise duplicate from err
    return row


def answer(
    session: Session, actor: Actor, workflow_id: str, *, member_id: str, status: str
) -> ResourceMember:
    """Accept or reject, as the member, what was offered."""
    row = _find(session, workflow_id, member_id, lock=True)
    if row is None or member_id != actor.project_id:
        raise _missing(workflow_id, member_id)
    if row.status != status:
        row.status = status
        row.updated_at = utcnow()
    session.flush()
    return row


def get(session: Session, actor: Actor, workflow_id: str, member_id: str) -> ResourceMember:
    """One membership; for the owner and for that member."""
    row = _find(session, workflow_id, member_id)
    if row is None or actor.project_id not in (row.project_id, row.member_id):
        raise _missing(workflow_id, member_id)
    return row


def listed(session: Session, actor: Actor, workflow_id: str) -> Sequence[ResourceMember]:
    """The memberships: all for the owner, its own for a member."""
    return session.scalars(
        select(ResourceMember)
        .where(
            ResourceMember.resource_id == workflow_id,
            or_(
                ResourceMember.project_id == actor.project_id,
                ResourceMember.member_id == actor.project_id,
            ),
        )
        .order_by(ResourceMember.created_at, ResourceMember.id)
    ).all()


def withdraw(session: Session, actor: Actor, workflow_id: str, member_id: str) -> None:
    """End the sharing with a project; only the owner may."""
    row = _find(session, workflow_id, member_id, lock=True)
    if row is None or row.project_id != actor.project_id:
        raise _missing(workflow_id, member_id)
    session.delete(row)
    session.flush()


def _find(
    session: Session, workflow_id: str, member_id: str, *, lock: bool = False
) -> ResourceMember | None:
    query = select(ResourceMember).where(
        ResourceMember.resource_id == workflow_id, ResourceMember.member_id == member_id
    )
    return session.scalar(query.with_for_update() if lock else query)


def _missing(workflow_id: str, member_id: str) -> NotFound:
    return NotFound(f"Resource member not found [resource_id={workflow_id}, member_id={member_id}]")
