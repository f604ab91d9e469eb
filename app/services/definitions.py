"""Definitions of workflows, actions and workbooks: stored, found, changed and deleted.

A parsed workflow is stored once, under the digest of its content; definitions and executions
point to it. Whoever looks for a name finds the own project's first, then what is shared.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Row, and_, bindparam, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.core import language
from app.core.actions import fill_input
from app.core.errors import InvalidDefinition
from app.core.language.specs import ActionSpec, WorkbookSpec, WorkflowSpec
from app.models import (
    ActionDefinition,
    CronTrigger,
    DynamicAction,
    EventTrigger,
    ResourceMember,
    Workbook,
    WorkflowDefinition,
    WorkflowSpecRow,
    utcnow,
)

from .actors import Actor, require_owner, require_scope, visible_to
from .errors import Duplicate, NotAllowed, NotFound, Refused

SCOPES = ("private", "public")
#: Names of actions that are Celeriac's own.
RESERVED = ("std.", "celery.")


def check_scope(scope: str) -> None:
    """Raise Refused unless *scope* is one."""
    if scope not in SCOPES:
        raise Refused(f"Scope must be one of the following: {set(SCOPES)}; actual: {scope}")


def validate(kind: str, text: str) -> InvalidDefinition | None:
    """What is wrong with a *text* of *kind*: workflow, workbook or action; None when nothing."""
    parse: Any = {
        "workflow": language.parse_workflows,
        "workbook": language.parse_workbook,
        "action": language.parse_actions,
    }[kind]
    try:
        parse(text)
    except InvalidDefinition as err:
        return err
    return None


# --- workflows --------------------------------------------------------------------------------


def create_workflows(
    session: Session, actor: Actor, *, text: str, namespace: str = "", scope: str = "private"
) -> list[WorkflowDefinition]:
    """Store every workflow of *text*, in its order; all or none."""
    check_scope(scope)
    require_scope(actor, "workflows", scope)
    parsed = language.parse_workflows(text)
    rows = [
        _new_workflow(
            session,
            actor.project_id,
            spec,
            name=spec.name,
            definition=parsed.definition_of(spec.name),
            namespace=namespace,
            scope=scope,
        )
        for spec in parsed.workflows
    ]
    for row in rows:
        row.checksum = _checksum(row.definition)
    _insert(session, rows)
    return rows


def update_workflows(
    session: Session,
    actor: Actor,
    *,
    text: str,
    namespace: str = "",
    scope: str = "private",
    identifier: str | None = None,
) -> list[WorkflowDefinition]:
    """Replace the workflows that *text* names, or the one that *identifier* names."""
    check_scope(scope)
    require_scope(actor, "workflows", scope)
    parsed = language.parse_workflows(text)
    if identifier is not None and len(parsed.workflows) > 1:
        raise Refused(
            "More than one workflows are not supported for update with identifier. "
            f"[identifier: {identifier}]"
        )
    rows = []
    for spec in parsed.workflows:
        definition = parsed.definition_of(spec.name)
        row = get_workflow(session, actor, identifier or spec.name, namespace=namespace, lock=True)
        require_owner(actor, row, kind="WorkflowDefinition")
        if row.scope == "public" and scope == "private":
            _refuse_hiding(session, row)
        if spec.name != row.name:
            _refuse_taken(session, row, spec.name)
        _set_workflow(session, row, spec, name=spec.name, definition=definition, scope=scope)
        row.checksum = _checksum(definition)
        _touch(session, row)
        rows.append(row)
    _flush(session, rows[0])
    return rows


def get_workflow(
    session: Session, actor: Actor, identifier: str, *, namespace: str = "", lock: bool = False
) -> WorkflowDefinition:
    """The workflow of that id, or of that name in *namespace*, that *actor* sees."""
    row = _first(session, WorkflowDefinition, actor, identifier, namespace, by_id=True, lock=lock)
    if row is None:
        raise _no_workflow(identifier, namespace)
    return row


def workflow_to_start(
    session: Session, actor: Actor, identifier: str, *, namespace: str = ""
) -> Row[Any]:
    """Of the same workflow what its start needs; not its text, which may be large."""
    row: Row[Any] | None = _first(
        session,
        WorkflowDefinition,
        actor,
        identifier,
        namespace,
        columns=_TO_START,
        by_id=True,
    )
    if row is None:
        raise _no_workflow(identifier, namespace)
    return row


def _no_workflow(identifier: str, namespace: str) -> NotFound:
    return NotFound(f"Workflow not found [workflow_identifier={identifier}, namespace={namespace}]")


def delete_workflow(
    session: Session, actor: Actor, *, identifier: str, namespace: str = ""
) -> None:
    """Delete a workflow, and whom it is shared with; its executions stay."""
    row = get_workflow(session, actor, identifier, namespace=namespace, lock=True)
    require_owner(actor, row, kind="WorkflowDefinition")
    for model, words in ((CronTrigger, "cron triggers"), (EventTrigger, "event triggers")):
        ids = session.scalars(select(model.id).where(model.workflow_id == row.id)).all()
        if ids:
            raise Refused(
                f"Can't delete workflow that has {words} associated. "
                f"[workflow_identifier={identifier}, namespace={namespace}], "
                f"[{words.removesuffix('s').replace(' ', '_')}_id(s)={', '.join(ids)}]"
            )
    session.execute(delete(ResourceMember).where(ResourceMember.resource_id == row.id))
    session.delete(row)
    session.flush()


def find_workflow(
    session: Session,
    *,
    name: str,
    namespace: str,
    project_id: str,
    fallback: bool = False,
) -> Row[Any] | None:
    """What starting the workflow needs that *name*, or an id, means for *project_id*, if any.

    The project's own comes first, then public and shared ones. With *fallback* a name that
    *namespace* does not have is looked for in the default namespace.
    """
    found: Row[Any] | None = _first(
        session,
        WorkflowDefinition,
        Actor(project_id=project_id),
        name,
        namespace,
        columns=_TO_START,
        by_id=True,
        fallback=fallback,
        nearest=True,
    )
    return found


def _new_workflow(
    session: Session,
    project_id: str,
    spec: WorkflowSpec,
    *,
    name: str,
    definition: str,
    namespace: str,
    scope: str,
) -> WorkflowDefinition:
    row = WorkflowDefinition(
        id=str(uuid.uuid4()), project_id=project_id, namespace=namespace, created_at=utcnow()
    )
    _set_workflow(session, row, spec, name=name, definition=definition, scope=scope)
    return row


def _set_workflow(
    session: Session,
    row: WorkflowDefinition,
    spec: WorkflowSpec,
    *,
    name: str,
    definition: str,
    scope: str,
) -> None:
    language.check_names([name])
    row.name = name
    row.definition = definition
    row.scope = scope
    row.tags = list(spec.tags)
    row.input = language.summarise_input(spec.input)
    row.interface = language.interface(spec)
    row.spec_id = store_spec(session, spec)


def store_spec(session: Session, spec: WorkflowSpec) -> str:
    """Store a parsed workflow unless it is there already; its id."""
    data = json.dumps(spec.raw, sort_keys=False, separators=(",", ":"))
    spec_id = hashlib.sha256(data.encode()).hexdigest()
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(
        dialect.insert(WorkflowSpecRow)
        .values(id=spec_id, data=spec.raw)
        .on_conflict_do_nothing(index_elements=["id"])
    )
    return spec_id


def _checksum(definition: str) -> str:
    return hashlib.md5(definition.encode(), usedforsecurity=False).hexdigest()


def _refuse_hiding(session: Session, row: WorkflowDefinition) -> None:
    """Other projects may rely on a public workflow."""
    for model, words in ((CronTrigger, "cron triggers"), (EventTrigger, "event triggers")):
        used = session.scalar(
            select(model.id).where(model.workflow_id == row.id, model.project_id != row.project_id)
        )
        if used is not None:
            raise NotAllowed(
                f"Can not update scope of workflow that has {words} associated in other tenants. "
                f"[workflow_identifier={row.name}, namespace={row.namespace}]"
            )


# --- actions ----------------------------------------------------------------------------------


def create_actions(
    session: Session, actor: Actor, *, text: str, namespace: str = "", scope: str = "private"
) -> list[ActionDefinition]:
    """Store every ad-hoc action of *text*; each keeps the whole text."""
    check_scope(scope)
    require_scope(actor, "actions", scope)
    rows = []
    for spec in language.parse_actions(text).actions:
        _refuse_reserved(spec.name)
        row = _new_action(actor.project_id, namespace=namespace)
        _set_action(row, spec, name=spec.name, definition=text, scope=scope)
        rows.append(row)
    _insert(session, rows)
    return rows


def update_actions(
    session: Session,
    actor: Actor,
    *,
    text: str,
    namespace: str = "",
    scope: str = "private",
    identifier: str | None = None,
) -> list[ActionDefinition]:
    """Replace the ad-hoc actions that *text* names, or the one that *identifier* names."""
    check_scope(scope)
    require_scope(actor, "actions", scope)
    specs = language.parse_actions(text).actions
    if identifier is not None and len(specs) > 1:
        raise Refused(
            f"More than one actions are not supported for update. [identifier: {identifier}]"
        )
    rows = []
    for spec in specs:
        row = get_action(session, actor, identifier=identifier or spec.name, namespace=namespace)
        require_owner(actor, row, kind="ActionDefinition")
        if spec.name != row.name:
            _refuse_reserved(spec.name)
            _refuse_taken(session, row, spec.name)
        _set_action(row, spec, name=spec.name, definition=text, scope=scope)
        _touch(session, row)
        rows.append(row)
    _flush(session, rows[0])
    return rows


def get_action(
    session: Session, actor: Actor, *, identifier: str, namespace: str = ""
) -> ActionDefinition:
    """The ad-hoc action to change or delete: of *namespace*, else of the default one. Locked."""
    row = _first(
        session,
        ActionDefinition,
        actor,
        identifier,
        namespace,
        by_id=True,
        fallback=True,
        nearest=True,
        lock=True,
    )
    if row is None:
        raise NotFound(
            f"Action definition not found [action_name={identifier}, namespace={namespace}]"
        )
    return row


def delete_action(session: Session, actor: Actor, *, identifier: str, namespace: str = "") -> None:
    """Delete an ad-hoc action."""
    row = get_action(session, actor, identifier=identifier, namespace=namespace)
    require_owner(actor, row, kind="ActionDefinition")
    session.delete(row)
    session.flush()


def find_action(
    session: Session, *, name: str, namespace: str, project_id: str
) -> ActionDefinition | DynamicAction | None:
    """The ad-hoc or dynamic action that *name* means for *project_id*, or None.

    *namespace* is looked through first, then the default namespace.
    """
    actor = Actor(project_id=project_id)
    for model in (ActionDefinition, DynamicAction):
        row = _first(session, model, actor, name, namespace, fallback=True, nearest=True)
        if row is not None:
            return row  # type: ignore[no-any-return]
    return None


def _new_action(project_id: str, *, namespace: str) -> ActionDefinition:
    return ActionDefinition(
        id=str(uuid.uuid4()), project_id=project_id, namespace=namespace, created_at=utcnow()
    )


def _set_action(
    row: ActionDefinition, spec: ActionSpec, *, name: str, definition: str, scope: str
) -> None:
    language.check_names([name])
    row.name = name
    row.definition = definition
    row.scope = scope
    row.spec = spec.raw
    row.description = spec.description
    row.tags = list(spec.tags)
    row.input = language.summarise_action_input(spec.input) or None


def _refuse_reserved(name: str) -> None:
    """An action that many rely on must not mean something else from now on."""
    if name.startswith(RESERVED):
        raise Refused(
            f"The name '{name}' is reserved: names that begin with "
            f"{' or '.join(RESERVED)} are those of Celeriac's own actions."
        )


# --- workbooks --------------------------------------------------------------------------------


def create_workbook(
    session: Session, actor: Actor, *, text: str, namespace: str = "", scope: str = "private"
) -> Workbook:
    """Store a workbook and its members."""
    check_scope(scope)
    require_scope(actor, "workbooks", scope)
    spec = language.parse_workbook(text).spec
    language.check_names([spec.name])
    row = Workbook(
        id=str(uuid.uuid4()),
        project_id=actor.project_id,
        namespace=namespace,
        name=spec.name,
        definition=text,
        tags=list(spec.tags),
        scope=scope,
        created_at=utcnow(),
    )
    _insert(session, [row])
    _store_members(session, row, spec)
    return row


def update_workbook(
    session: Session, actor: Actor, *, text: str, namespace: str = "", scope: str = "private"
) -> Workbook:
    """Replace the workbook that *text* names. Members that it lost stay."""
    check_scope(scope)
    require_scope(actor, "workbooks", scope)
    spec = language.parse_workbook(text).spec
    row = get_workbook(session, actor, name=spec.name, namespace=namespace, lock=True)
    require_owner(actor, row, kind="Workbook")
    row.definition = text
    row.tags = list(spec.tags)
    row.scope = scope
    _touch(session, row)
    _flush(session, row)
    _store_members(session, row, spec)
    return row


def get_workbook(
    session: Session,
    actor: Actor,
    *,
    name: str,
    namespace: str = "",
    lock: bool = False,
    text: str = "Workbook not found [name={name}, namespace={namespace}]",
) -> Workbook:
    """The workbook of that name that *actor* sees; *text* is what NotFound says."""
    row = _first(session, Workbook, actor, name, namespace, lock=lock)
    if row is None:
        raise NotFound(text.format(name=name, namespace=namespace))
    return row


def delete_workbook(session: Session, actor: Actor, *, name: str, namespace: str = "") -> None:
    """Delete a workbook; its members stay."""
    row = get_workbook(
        session,
        actor,
        name=name,
        namespace=namespace,
        lock=True,
        text="Workbook not found [workbook_name={name}, namespace={namespace}]",
    )
    require_owner(actor, row, kind="Workbook")
    session.delete(row)
    session.flush()


def _store_members(session: Session, workbook: Workbook, spec: WorkbookSpec) -> None:
    """Create or replace the workflows and actions of *workbook*."""
    owner = Actor(project_id=workbook.project_id)
    for short, member in spec.workflows.items():
        row = _own(session, WorkflowDefinition, workbook, short)
        definition = _slice(workbook.definition, "workflows", short)
        name = f"{workbook.name}.{short}"
        if row is None:
            row = _new_workflow(
                session,
                owner.project_id,
                member,
                name=name,
                definition=definition,
                namespace=workbook.namespace,
                scope=workbook.scope,
            )
            session.add(row)
        else:
            _set_workflow(
                session, row, member, name=name, definition=definition, scope=workbook.scope
            )
            _touch(session, row)
        row.checksum = None
        row.workbook_name = workbook.name
    for short, action in spec.actions.items():
        found = _own(session, ActionDefinition, workbook, short)
        if found is None:
            found = _new_action(owner.project_id, namespace=workbook.namespace)
            session.add(found)
        _set_action(
            found,
            action,
            name=f"{workbook.name}.{short}",
            definition=_slice(workbook.definition, "actions", short),
            scope=workbook.scope,
        )
        found.workbook_name = workbook.name
        if found in session.dirty:
            _touch(session, found)
    _flush(session, workbook)


def _own(session: Session, model: type[Any], workbook: Workbook, short: str) -> Any:
    return session.scalar(
        select(model)
        .where(
            model.name == f"{workbook.name}.{short}",
            model.namespace == workbook.namespace,
            model.project_id == workbook.project_id,
        )
        .with_for_update()
    )


def _slice(text: str, section: str, name: str) -> str:
    """The part of a workbook's text that defines member *name*, moved to the left margin.

    Empty but for a line's end when the member does not stand on lines of its own.
    """
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith(f"{section}:")), None)
    if start is None:
        return "\n"
    head = next((n for n in range(start + 1, len(lines)) if lines[n].strip() == f"{name}:"), None)
    if head is None:
        return "\n"
    margin = len(lines[head]) - len(lines[head].lstrip())
    kept = [lines[head].strip()]
    for line in lines[head + 1 :]:
        words = line.lstrip()
        indent = len(line) - len(words)
        if words and not words.startswith("#") and indent <= margin:
            break
        kept.append(line[min(indent, margin) :])
    return "\n".join(kept).rstrip() + "\n"


# --- what they share --------------------------------------------------------------------------

#: Attributes of a workflow that its start needs.
_TO_START = (
    "id",
    "name",
    "namespace",
    "project_id",
    "workbook_name",
    "spec_id",
    "tags",
    "scope",
)
_UNIQUE = "['name', 'namespace', 'project_id']"
_KINDS = {
    WorkflowDefinition: "WorkflowDefinition",
    ActionDefinition: "Action",
    Workbook: "WorkbookDefinition",
}


def _first(
    session: Session,
    model: Any,
    actor: Actor,
    identifier: str,
    namespace: str,
    *,
    by_id: bool = False,
    fallback: bool = False,
    nearest: bool = False,
    lock: bool = False,
    columns: tuple[str, ...] = (),
) -> Any:
    """The row of that name in *namespace* that fits best: of the own project, then the oldest.

    With *by_id* the identifier may be an id as well, with *fallback* the default namespace is
    looked through too, and with *nearest* rows of *namespace* come before all others. With
    *columns* only those are read, as a plain row.
    """
    statement = _best(model, everything=actor.is_admin, nearest=nearest, lock=lock, columns=columns)
    values = {
        "identifier": identifier,
        "id": identifier if by_id else "",
        "namespace": namespace,
        "other_namespace": "" if fallback else namespace,
        "project_id": actor.project_id,
    }
    return (
        session.execute(statement, values).first() if columns else session.scalar(statement, values)
    )


@cache
def _best(
    model: Any, *, everything: bool, nearest: bool, lock: bool, columns: tuple[str, ...]
) -> Any:
    """The statement of ``_first``; made once, since each start of a workflow needs it."""
    namespace: BindParameter[str] = bindparam("namespace")
    project_id: BindParameter[str] = bindparam("project_id")
    wanted = [getattr(model, name) for name in columns] or [model]
    query = select(*wanted).where(
        or_(
            and_(
                model.name == bindparam("identifier"),
                or_(model.namespace == namespace, model.namespace == bindparam("other_namespace")),
            ),
            model.id == bindparam("id"),
        )
    )
    if not everything:
        query = query.where(visible_to(model, project_id))
    if nearest:
        query = query.order_by(case((model.namespace == namespace, 0), else_=1))
    query = query.order_by(
        case((model.project_id == project_id, 0), else_=1), model.created_at, model.id
    ).limit(1)
    if lock:
        # Two requests that change the same row queue here; the second sees what the first did.
        query = query.with_for_update().execution_options(populate_existing=True)
    return query


def _insert(session: Session, rows: Sequence[Any]) -> None:
    """Insert *rows* of one kind; Duplicate names the first that exists already."""
    for row in rows:
        taken = session.scalar(_same(type(row), row.name, row.namespace, row.project_id))
        if taken is not None:
            raise _duplicate(row)
    session.add_all(rows)
    _flush(session, rows[0])


def _flush(session: Session, row: Any) -> None:
    """Write now. Another request may have taken the name since it was looked for."""
    # Made beforehand: after the failure the row cannot be read any more.
    duplicate = _duplicate(row)
    try:
        session.flush()
    except IntegrityError as err:
        raise duplicate from err


def _refuse_taken(session: Session, row: Any, name: str) -> None:
    """A new name must be free."""
    if session.scalar(_same(type(row), name, row.namespace, row.project_id)) is not None:
        row.name = name
        raise _duplicate(row)


def _same(model: type[Any], name: str, namespace: str, project_id: str) -> Any:
    return select(model.id).where(
        model.name == name, model.namespace == namespace, model.project_id == project_id
    )


def _duplicate(row: Any) -> Duplicate:
    # Mistral prints None for the project, whatever it is.
    return Duplicate(
        f"Duplicate entry for {_KINDS[type(row)]} {_UNIQUE}: {row.name}, {row.namespace}, None"
    )


def _touch(session: Session, row: Any) -> None:
    """Note the time of a change, if there is one."""
    if session.is_modified(row):
        row.updated_at = utcnow()


def check_input(
    session: Session,
    workflow: WorkflowDefinition,
    input: Mapping[str, Any],
    params: Mapping[str, Any],
) -> None:
    """Raise unless *workflow* could be started with *input* and *params*."""
    stored = session.get_one(WorkflowSpecRow, workflow.spec_id)
    spec = language.load_workflow(stored.data)
    fill_input(workflow.name, spec.class_name, spec.input, input)
    if spec.reverse and params.get("task_name") not in spec.tasks:
        raise Refused(
            f"Invalid task name [wf_spec={spec.name}, task_name={params.get('task_name')}]"
        )
