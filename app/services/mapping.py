"""Rows to core values and back: the only place that knows both.

Hot: rows are read as plain tuples and written by bulk statements, never as ORM objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.sql import Select

from app.core.data_flow import Context
from app.core.execution import Action, Child, Counts, Execution, Items, Join, Task, values_of
from app.core.states import State
from app.models import ActionExecution, TaskExecution, WorkflowExecution
from app.models import Context as ContextRow

# --- executions ------------------------------------------------------------------------------

E = WorkflowExecution.__table__.c
T = TaskExecution.__table__.c
A = ActionExecution.__table__.c
C = ContextRow.__table__.c


#: All that deciding on executions needs; not their input, and not their output.
EXECUTIONS: Select[Any] = select(
    E.id, E.state, E.workflow_name, E.created_at, E.params, E.project_id,
    E.workflow_namespace, E.workbook_name, E.workflow_id, E.description, E.state_info,
    E.parent_execution_id, E.task_execution_id, E.root_execution_id,
    E.item_index, E.depth, E.context_id, E.conductor, E.updated_at, E.finished_at, E.spec_id,
    E.revision, E.scope,
)  # fmt: skip


def execution_of(row: Row[Any]) -> Execution:
    """The core's execution of a row that ``EXECUTIONS`` gave."""
    known: Mapping[str, Any] = row.conductor or {}
    return Execution(
        id=row.id,
        state=State(row.state),
        name=row.workflow_name,
        created_at=row.created_at,
        params=row.params,
        project_id=row.project_id,
        namespace=row.workflow_namespace,
        workbook=row.workbook_name,
        workflow_id=row.workflow_id,
        description=row.description,
        state_info=row.state_info,
        parent_execution_id=row.parent_execution_id,
        parent_task_id=row.task_execution_id,
        root_id=row.root_execution_id,
        index=row.item_index,
        depth=row.depth,
        context_id=row.context_id,
        launched=known.get("launched", False),
        counts=Counts(**known.get("counts", {})),
        serial=known.get("serial", 0),
        sequence=known.get("sequence", 0),
        log_number=known.get("log", 0),
        backlog=known.get("backlog", []),
        updated_at=row.updated_at,
        finished_at=row.finished_at,
    )


def conductor_of_execution(execution: Execution) -> dict[str, Any]:
    """What the conductor remembers of an execution between decisions."""
    return {
        "launched": execution.launched,
        "counts": values_of(execution.counts),
        "serial": execution.serial,
        "sequence": execution.sequence,
        "log": execution.log_number,
        "backlog": execution.backlog,
    }


# --- tasks -----------------------------------------------------------------------------------


TASKS: Select[Any] = select(
    T.id, T.workflow_execution_id, T.name, T.type, T.number, T.state, T.state_info,
    T.created_at, T.attempt,
    T.inbound_context_id, T.outbound_context_id, T.published, T.published_global,
    T.processed, T.has_next_tasks, T.next_tasks, T.error_handled, T.runtime_context,
    T.conductor, T.unique_key, T.started_at, T.finished_at, T.updated_at,
)  # fmt: skip


def task_of(row: Row[Any]) -> Task:
    """The core's task of a row that ``TASKS`` gave."""
    known: Mapping[str, Any] = row.conductor or {}
    items, join = known.get("items"), known.get("join")
    return Task(
        id=row.id,
        name=row.name,
        type=row.type,
        number=row.number,
        state=State(row.state),
        state_info=row.state_info,
        created_at=row.created_at,
        attempt=row.attempt,
        inbound_id=row.inbound_context_id,
        outbound_id=row.outbound_context_id,
        published=row.published or {},
        published_global=row.published_global or {},
        processed=row.processed,
        has_next_tasks=row.has_next_tasks,
        next_tasks=row.next_tasks,
        error_handled=row.error_handled,
        triggered_by=(row.runtime_context or {}).get("triggered_by", []),
        items=Items(**items) if items else None,
        join=Join(**join) if join else None,
        retry_no=known.get("retry_no"),
        waited_before=known.get("waited_before", False),
        waited_after=known.get("waited_after", False),
        paused_before=known.get("paused_before", False),
        held=known.get("held", False),
        due=known.get("due"),
        outcome=State(known["outcome"]) if known.get("outcome") else None,
        outcome_info=known.get("outcome_info"),
        revisited=known.get("revisited", False),
        concurrency=known.get("concurrency"),
        started_at=row.started_at,
        finished_at=row.finished_at,
        updated_at=row.updated_at,
        unique=row.unique_key is not None,
        new=False,
    )


_TASK_FLAGS = (
    "retry_no", "waited_before", "waited_after", "paused_before", "held", "due", "outcome",
    "outcome_info", "revisited", "concurrency",
)  # fmt: skip


def values_of_task(task: Task) -> dict[str, Any]:
    """Columns of a task that change while it lives."""
    conductor: dict[str, Any] = {}
    for name in _TASK_FLAGS:
        value = getattr(task, name)
        if value is not None and value is not False:
            conductor[name] = value
    if task.items is not None:
        conductor["items"] = asdict(task.items)
    if task.join is not None:
        conductor["join"] = asdict(task.join)
    return {
        "state": str(task.state),
        "state_info": task.state_info,
        "attempt": task.attempt,
        "inbound_context_id": task.inbound_id,
        "outbound_context_id": task.outbound_id,
        "published": task.published,
        "published_global": task.published_global,
        "processed": task.processed,
        "has_next_tasks": task.has_next_tasks,
        "next_tasks": task.next_tasks,
        "error_handled": task.error_handled,
        "runtime_context": task.runtime_context,
        "conductor": conductor,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "updated_at": task.updated_at,
    }


def new_task_values(task: Task, execution: Execution, tags: list[str]) -> dict[str, Any]:
    """All columns of a task that has no row yet."""
    return {
        "id": task.id,
        "workflow_execution_id": execution.id,
        "workflow_id": execution.workflow_id,
        "workflow_name": execution.name,
        "workflow_namespace": execution.namespace,
        "project_id": execution.project_id,
        "name": task.name,
        "type": task.type,
        "tags": tags,
        "unique_key": task.name if task.unique else None,
        "number": task.number,
        "created_at": task.created_at,
        **values_of_task(task),
    }


# --- actions and sub-workflows ---------------------------------------------------------------


ACTIONS: Select[Any] = select(
    A.id, A.workflow_execution_id, A.task_execution_id, A.name, A.state, A.item_index,
    A.attempt, A.accepted, A.output, A.is_sync, A.number,
)  # fmt: skip


def action_of(row: Row[Any]) -> Action:
    return Action(
        id=row.id,
        task_id=row.task_execution_id,
        name=row.name,
        state=State(row.state),
        index=row.item_index,
        attempt=row.attempt,
        accepted=row.accepted,
        result=(row.output or {}).get("result"),
        asynchronous=not row.is_sync,
        number=row.number,
        new=False,
    )


CHILDREN: Select[Any] = select(
    E.id, E.task_execution_id, E.item_index, E.attempt, E.state, E.accepted, E.output,
    E.state_info,
)  # fmt: skip


def child_of(row: Row[Any]) -> Child:
    return Child(
        id=row.id,
        task_id=row.task_execution_id,
        index=row.item_index,
        attempt=row.attempt,
        state=State(row.state),
        accepted=row.accepted,
        output=row.output,
        state_info=row.state_info,
    )


# --- contexts --------------------------------------------------------------------------------


def context_values(context: Context, execution_id: str) -> dict[str, Any]:
    """All columns of a new context."""
    return {
        "id": context.id,
        "workflow_execution_id": execution_id,
        "parent_id": context.parent.id if context.parent is not None else None,
        "data": dict(context.data),
        "versions": {path: list(version) for path, version in context.versions.items()},
    }


def context_of(row: Row[Any], parent: Context | None) -> Context:
    versions = {path: (version[0], version[1]) for path, version in row.versions.items()}
    return Context(id=row.id, parent=parent, data=row.data, versions=versions)
