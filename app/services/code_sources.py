"""Code sources, and the dynamic actions that are classes in them.

Nothing here runs or imports what users wrote: the text is only read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, case, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.actions import dynamic
from app.actions.registry import Registry
from app.broker import ACTION_RUN, Message
from app.models import CodeSource, DynamicAction, utcnow

from .actors import Actor, require_owner, require_scope, visible
from .definitions import RESERVED, check_scope, find_action
from .errors import Duplicate, NotFound, Refused


def create(
    session: Session, actor: Actor, *, name: str, content: str, namespace: str, scope: str
) -> CodeSource:
    """Store a module."""
    if not name:
        raise Refused("Name of the code source is not provided.")
    check_scope(scope)
    require_scope(actor, "code_sources", scope)
    row = CodeSource(
        id=str(uuid.uuid4()),
        name=name,
        namespace=namespace,
        content=content,
        version=1,
        tags=[],
        scope=scope,
        project_id=actor.project_id,
        created_at=utcnow(),
    )
    _insert(
        session,
        row,
        f"Duplicate entry for CodeSource ['name', 'namespace', 'project_id']: {name}, "
        f"{namespace}, None",
    )
    return row


def get(
    session: Session, actor: Actor, identifier: str, *, namespace: str = "", lock: bool = False
) -> CodeSource:
    """The module of that id, or of that name in *namespace*."""
    row = _first(session, CodeSource, actor, identifier, namespace, lock=lock)
    if row is None:
        raise NotFound(f"Code Source not found [name={identifier},namespace={namespace}]")
    return row  # type: ignore[no-any-return]


def update(
    session: Session,
    actor: Actor,
    identifier: str,
    *,
    content: str,
    namespace: str,
    scope: str | None,
) -> CodeSource:
    """Replace the text of a module; its version grows by one."""
    row = get(session, actor, identifier, namespace=namespace, lock=True)
    require_owner(actor, row)
    if scope is not None:
        check_scope(scope)
        require_scope(actor, "code_sources", scope)
        row.scope = scope
    row.content = content
    row.version += 1
    row.updated_at = utcnow()
    # The actions in it may take other parameters now. One whose class is gone keeps the old
    # ones, and says so when it is run.
    for action in session.scalars(
        select(DynamicAction).where(DynamicAction.code_source_id == row.id)
    ):
        found = _find_parameters(content, action.class_name)
        if found is not None:
            action.parameters = found
    session.flush()
    return row


def delete(session: Session, actor: Actor, identifier: str, *, namespace: str = "") -> None:
    """Delete a module and the actions in it."""
    row = get(session, actor, identifier, namespace=namespace, lock=True)
    require_owner(actor, row)
    session.delete(row)
    session.flush()


def create_action(session: Session, actor: Actor, values: Mapping[str, Any]) -> DynamicAction:
    """Name a class of a module as an action."""
    name, class_name = values.get("name"), values.get("class_name")
    namespace, scope = values.get("namespace") or "", values.get("scope") or "private"
    if not name:
        raise Refused("Name of the dynamic action is not provided.")
    if name.startswith(RESERVED):
        raise Refused(f"The name '{name}' is reserved for Celeriac's own actions.")
    if not class_name:
        raise Refused("Class name of the dynamic action is not provided.")
    require_scope(actor, "dynamic_actions", scope)
    source = _source(session, actor, values, namespace)
    if source is None:
        raise Refused("Either 'code_source_id' or 'code_source_name' must be provided.")
    row = DynamicAction(
        id=str(uuid.uuid4()),
        name=name,
        namespace=namespace,
        class_name=class_name,
        code_source_id=source.id,
        code_source_name=source.name,
        parameters=_parameters(source.content, class_name),
        scope=scope,
        project_id=actor.project_id,
        created_at=utcnow(),
    )
    _insert(
        session,
        row,
        f"Duplicate entry for dynamic action definition [name={name}, namespace={namespace}, "
        "project_id=None]",
    )
    return row


def get_action(
    session: Session, actor: Actor, identifier: str, *, namespace: str = "", lock: bool = False
) -> DynamicAction:
    """The dynamic action of that id, or of that name in *namespace*."""
    row = _first(session, DynamicAction, actor, identifier, namespace, lock=lock)
    if row is None:
        raise NotFound(f"Dynamic Action not found [name={identifier},namespace={namespace}]")
    return row  # type: ignore[no-any-return]


def update_action(session: Session, actor: Actor, values: Mapping[str, Any]) -> DynamicAction:
    """Change the class, module or scope of the action that ``id`` or ``name`` tells."""
    identifier = values.get("id") or values.get("name")
    if not identifier:
        raise Refused("Either 'name' or 'id' must be provided.")
    namespace = values.get("namespace") or ""
    row = get_action(session, actor, identifier, namespace=namespace, lock=True)
    require_owner(actor, row)
    if values.get("scope"):
        require_scope(actor, "dynamic_actions", values["scope"])
        row.scope = values["scope"]
    source = _source(session, actor, values, namespace)
    if source is not None:
        row.code_source_id, row.code_source_name = source.id, source.name
    if values.get("class_name"):
        row.class_name = values["class_name"]
    content = session.get_one(CodeSource, row.code_source_id).content
    row.parameters = _parameters(content, row.class_name)
    if values.get("id") and values.get("name"):
        row.name = values["name"]
    if session.is_modified(row):
        row.updated_at = utcnow()
    session.flush()
    return row


def delete_action(session: Session, actor: Actor, identifier: str, *, namespace: str = "") -> None:
    """Delete a dynamic action; its module stays."""
    row = get_action(session, actor, identifier, namespace=namespace, lock=True)
    require_owner(actor, row)
    session.delete(row)
    session.flush()


def with_code(
    session: Session, registry: Registry, message: Message, *, namespace: str, project_id: str
) -> Message:
    """*message* to an executor; with the text of the class that it runs, if that is its action.

    Executors have no database: the text travels with the request.
    """
    if message.task != ACTION_RUN:
        return message
    request = message.args[0]
    if registry.find(request["action"]) is not None:
        return message
    row = find_action(session, name=request["action"], namespace=namespace, project_id=project_id)
    if not isinstance(row, DynamicAction):
        return message
    return replace(message, args=[{**request, "code": code_of(session, row)}])


def code_of(session: Session, row: DynamicAction) -> dict[str, Any]:
    """What an executor needs to run a dynamic action: the module's text and the class."""
    source = session.get_one(CodeSource, row.code_source_id)
    return {"source": source.content, "class_name": row.class_name}


def _source(
    session: Session, actor: Actor, values: Mapping[str, Any], namespace: str
) -> CodeSource | None:
    identifier = values.get("code_source_id") or values.get("code_source_name")
    if not identifier:
        return None
    return get(session, actor, identifier, namespace=namespace)


def _find_parameters(content: str, class_name: str) -> Any:
    try:
        return dynamic.parameters_of(content, class_name)
    except ValueError:
        return None


def _parameters(content: str, class_name: str) -> Any:
    try:
        return dynamic.parameters_of(content, class_name)
    except ValueError as err:
        raise Refused(str(err)) from None


def _first(
    session: Session,
    model: type[Any],
    actor: Actor,
    identifier: str,
    namespace: str,
    *,
    lock: bool,
) -> Any:
    query = (
        select(model)
        .where(
            or_(
                and_(model.name == identifier, model.namespace == namespace),
                model.id == identifier,
            ),
            visible(model, actor),
        )
        .order_by(
            case((model.project_id == actor.project_id, 0), else_=1), model.created_at, model.id
        )
        .limit(1)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def _insert(session: Session, row: Any, text: str) -> None:
    model = type(row)
    taken = select(model.id).where(
        model.name == row.name,
        model.namespace == row.namespace,
        model.project_id == row.project_id,
    )
    if session.scalar(taken) is not None:
        raise Duplicate(text)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise Duplicate(text) from err
