"""Who asks, what they may do, and whose things they may see and change.

Every rule about rights stands here: the table of policies, which rows an actor sees, and which
they may change. The services ask; they do not decide for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true

from app.models import ResourceMember, WorkflowDefinition

from .errors import NotAllowed

DEFAULT_PROJECT = "<default-project>"
ADMIN = "admin"
#: Whoever has this role and no other may look but not touch.
READER = "reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks."""

    project_id: str = DEFAULT_PROJECT
    roles: frozenset[str] = field(default_factory=frozenset)
    user_id: str | None = None

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def reads_only(self) -> bool:
        return self.roles == {READER}


#: Celeriac itself: workers that act for nobody in particular.
SYSTEM = Actor(roles=frozenset({ADMIN}), user_id="system")

_RESOURCES = (
    "workflows", "workbooks", "actions", "executions", "tasks", "action_executions",
    "environments", "cron_triggers", "event_triggers", "members", "notifications",
)  # fmt: skip
_VERBS = ("create", "delete", "get", "list", "update")

#: Policy -> who passes: ``anyone`` (of the project), ``reader`` (the same, and a reader too) or
#: ``admin``. The names are Mistral's; what is not in the table is refused.
POLICIES: dict[str, str] = {
    **{
        f"{resource}:{verb}": "reader" if verb in ("get", "list") else "anyone"
        for resource in _RESOURCES
        for verb in _VERBS
    },
    **{
        f"{resource}:{verb}": "admin"
        for resource in ("code_sources", "dynamic_actions")
        for verb in (*_VERBS, "publicize")
    },
    **{
        f"{resource}:publicize": "admin"
        for resource in (
            "workflows", "workbooks", "actions", "environments", "cron_triggers", "event_triggers",
        )
    },
    **{
        f"{resource}:list:all_projects": "admin"
        for resource in ("workflows", "executions", "cron_triggers", "event_triggers")
    },
    "maintenance:get": "reader",
    "maintenance:update": "admin",
}  # fmt: skip


def require(actor: Actor, policy: str) -> None:
    """Raise NotAllowed unless *actor* passes *policy*."""
    rule = POLICIES.get(policy)
    allowed = actor.is_admin or rule == "reader" or (rule == "anyone" and not actor.reads_only)
    if not allowed:
        raise NotAllowed


def require_scope(actor: Actor, resource: str, scope: str | None) -> None:
    """Raise NotAllowed when *scope* makes something of *resource* public and *actor* may not."""
    if scope == "public":
        require(actor, f"{resource}:publicize")


def visible(model: type[Any], actor: Actor, *, everything: bool = True) -> ColumnElement[bool]:
    """The condition for rows of *model* that *actor* sees: own, public, and shared workflows.

    Without *everything* an administrator is treated like anybody else.
    """
    if actor.is_admin and everything:
        return true()
    return visible_to(model, actor.project_id)


def visible_to(model: type[Any], project_id: Any) -> ColumnElement[bool]:
    """The condition for rows of *model* that a project sees, told by id or by a parameter."""
    # Columns of the table: with attributes of the model each row would be the ORM's to load.
    columns: Any = model.__table__.c
    conditions = [columns.project_id == project_id]
    if "scope" in columns and "revision" not in columns:
        # Executions have a scope, but nothing makes them public.
        conditions.append(columns.scope == "public")
    if model is WorkflowDefinition:
        conditions.append(
            columns.id.in_(
                select(ResourceMember.resource_id).where(
                    ResourceMember.member_id == project_id,
                    ResourceMember.resource_type == "workflow",
                    ResourceMember.status == "accepted",
                )
            )
        )
    return or_(*conditions)


def require_owner(actor: Actor, row: Any, *, kind: str | None = None) -> None:
    """Raise NotAllowed unless *row* belongs to *actor*'s project, or *actor* is an administrator.

    *kind* is what the message calls it.
    """
    if not actor.is_admin and row.project_id != actor.project_id:
        kind = kind or type(row).__name__
        raise NotAllowed(f"Can not access {kind} resource of other projects, ID: {row.id}")
