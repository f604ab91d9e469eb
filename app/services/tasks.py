"""Tasks as people handle them: look at the result, run again, skip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core import events
from app.core.errors import StateRefused
from app.core.evaluation import collect
from app.core.states import TERMINAL, State
from app.models import TaskExecution, WorkflowExecution
from app.services import executions
from app.services.actors import Actor
from app.services.errors import NotFound, Refused
from app.services.mapping import A, E
from app.services.platform import Platform
from app.services.stored import spec

_TERMINAL = [str(state) for state in TERMINAL]


def get(session: Session, actor: Actor, id: str) -> TaskExecution:
    """The task; NotFound when there is none or *actor* may not see it."""
    row = session.get(TaskExecution, id)
    if row is None or not (actor.is_admin or row.project_id == actor.project_id):
        raise NotFound(f"Task execution not found [id={id}]")
    return row


def result(session: Session, row: TaskExecution) -> Any:
    """The task's result: one value, or for with-items (and none yet) a list."""
    if row.type == "WORKFLOW":
        query = (
            select(E.output)
            .where(E.task_execution_id == row.id, E.accepted, E.state.in_(_TERMINAL))
            .order_by(E.item_index)
        )
        values = list(session.scalars(query))
    else:
        query = (
            select(A.output)
            .where(A.task_execution_id == row.id, A.accepted, A.state.in_(_TERMINAL))
            .order_by(A.item_index)
        )
        values = [(output or {}).get("result") for output in session.scalars(query)]
    return collect(values, _with_items(session, row))


def _with_items(session: Session, row: TaskExecution) -> bool:
    if (row.conductor or {}).get("items") is not None:
        return True
    spec_id = session.scalar(select(E.spec_id).where(E.id == row.workflow_execution_id))
    if spec_id is None:
        return False
    task = spec(session, spec_id).tasks.get(row.name)
    return task is not None and bool(task.with_items)


def rerun(
    session: Session,
    platform: Platform,
    actor: Actor,
    id: str,
    *,
    reset: bool,
    env: Mapping[str, Any] | None = None,
) -> TaskExecution:
    """Run a failed task again; without *reset* only the items of with-items that failed."""
    row = _locked(session, actor, id)
    if not reset and not _with_items(session, row):
        raise Refused("Only with-items task has the option to not reset.")
    event = events.RerunRequested(task_id=id, reset=reset, env=env)
    executions.apply(session, platform, row.workflow_execution_id, [event])
    return get(session, actor, id)


def skip(
    session: Session,
    platform: Platform,
    actor: Actor,
    id: str,
    *,
    env: Mapping[str, Any] | None = None,
) -> TaskExecution:
    """Pass over a failed task and go on behind it."""
    row = _locked(session, actor, id)
    event = events.SkipRequested(task_id=id, env=env)
    executions.apply(session, platform, row.workflow_execution_id, [event])
    return get(session, actor, id)


def _locked(session: Session, actor: Actor, id: str) -> TaskExecution:
    """The failed task of an execution that may go on, the execution locked."""
    row = get(session, actor, id)
    execution = executions.locked(session, actor, row.workflow_execution_id)
    session.refresh(row)
    if row.state != State.ERROR:
        raise Refused(
            "The current task execution must be in ERROR for rerun. "
            "Only updating task to rerun is supported."
        )
    _require_reopenable(execution)
    return row


def _require_reopenable(execution: WorkflowExecution) -> None:
    if execution.state == State.SUCCESS:
        raise StateRefused(
            f"Can't change workflow execution state from SUCCESS to RUNNING. "
            f"[workflow={execution.workflow_name}, execution_id={execution.id}]"
        )
