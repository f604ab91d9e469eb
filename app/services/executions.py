"""Executions as people handle them: create, pause, resume, stop, describe, delete.

Whatever changes the state of an execution is an event, applied by the engine in the caller's
transaction, so that the answer shows the new state.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy import delete as delete_rows
from sqlalchemy import event as listening
from sqlalchemy.orm import Session

from app.broker import Message
from app.core import events, starting
from app.core.data_flow import deep_merge
from app.core.errors import RequestRefused, StateRefused
from app.core.events import Event
from app.core.execution import FoundWorkflow
from app.core.expressions import ExpressionError
from app.core.states import EXECUTION_TRANSITIONS, TERMINAL, State
from app.models import Context, Database, Environment, WorkflowExecution, Write, utcnow, write
from app.services import actors, definitions, engine, outbox, stored
from app.services.actors import Actor
from app.services.carry_out import (
    QUIET_SECONDS,
    event_message,
    execution_values,
    first_context_id,
    variables_values,
)
from app.services.errors import NotAllowed, NotFound, Refused
from app.services.mapping import E
from app.services.platform import Platform

_executions: Any = WorkflowExecution.__table__
_contexts: Any = Context.__table__
_TERMINAL = [str(state) for state in TERMINAL]
_EXISTS = select(E.id).where(E.id == bindparam("id"))

#: Longest seconds that a reader waits for the first tasks of an execution.
START_PATIENCE = 1.0
#: With more executions that have not begun than this, nobody waits for those of all: it is busy.
FEW = 3
#: Seconds between two looks.
_LOOK = 0.01
_NOT_BEGUN = select(E.id).where(E.revision == 0, E.state == "RUNNING").limit(FEW + 1)


def get(session: Session, actor: Actor, id: str) -> WorkflowExecution:
    """The execution; NotFound when there is none or *actor* may not see it."""
    row = session.get(WorkflowExecution, id)
    if row is None or not (actor.is_admin or row.project_id == actor.project_id):
        raise NotFound(f"WorkflowExecution not found [id={id}]")
    return row


#: An execution to be looked at: a row of the session, or only the values that are written.
Shown = WorkflowExecution | SimpleNamespace


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An execution that somebody wants.

    A source execution lends its workflow, input and params; what is given here wins.
    """

    #: Name or id.
    workflow: str | None = None
    namespace: str = ""
    input: Mapping[str, Any] | None = None
    params: Mapping[str, Any] | None = None
    description: str | None = ""
    id: str | None = None
    source_execution_id: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None and len(self.id) > 36:
            raise Refused(f"The id of an execution has at most 36 characters, got {len(self.id)}.")


def create(
    session: Session, platform: Platform, actor: Actor, wanted: Wanted, *, last: bool = False
) -> Shown:
    """Start a workflow; the execution is RUNNING when it is returned.

    With an id that exists the execution of that id is returned and nothing is started, so a
    client may safely ask again. *last* means that nobody asks for it before the unit of work ends:
    then it is written with the commit.
    """
    if wanted.id is not None and session.execute(_EXISTS, {"id": wanted.id}).first() is not None:
        return get(session, actor, wanted.id)
    if wanted.source_execution_id:
        wanted = _like_its_source(session, actor, wanted)
    if not wanted.workflow:
        raise Refused("Workflow ID or workflow name must be provided. Workflow ID is recommended.")
    row = definitions.workflow_to_start(session, actor, wanted.workflow, namespace=wanted.namespace)
    found = stored.found_workflow(session, row)
    if row.project_id == actor.project_id:
        platform.workflows.put((actor.project_id, wanted.workflow, wanted.namespace), found)
    environment = _environment(session, actor, (wanted.params or {}).get("env"))
    created = new(platform, actor, found, wanted, environment)
    if last:
        outbox.write_last(session, created.writes)
    else:
        write(session, created.writes)
    outbox.add(session, [created.message])
    return created.shown


def _like_its_source(session: Session, actor: Actor, wanted: Wanted) -> Wanted:
    """What is wanted, completed by the execution that it shall be like."""
    source = get(session, actor, str(wanted.source_execution_id))
    based = f"{wanted.description or ''} Based on the execution '{source.id}'"
    return replace(
        wanted,
        workflow=wanted.workflow or source.workflow_id,
        namespace=wanted.namespace or source.workflow_namespace,
        input=deep_merge(source.input or {}, dict(wanted.input or {})),
        params=deep_merge(source.params or {}, dict(wanted.params or {})),
        description=based.strip(),
    )


@dataclass(frozen=True, slots=True)
class New:
    """An execution that is still to be written, and the message that sets it going."""

    shown: Shown
    writes: Sequence[Write]
    message: Message


def new(
    platform: Platform,
    actor: Actor,
    found: FoundWorkflow,
    wanted: Wanted,
    environment: Mapping[str, Any],
) -> New:
    """An execution of the workflow that was *found* for what is wanted."""
    execution_id = wanted.id or str(uuid.uuid4())
    now = utcnow()
    params = wanted.params or {}
    start = starting.prepare(
        found,
        input=dict(wanted.input or {}),
        params={**params, "namespace": found.namespace, "env": environment},
        surroundings=starting.Surroundings(
            execution_id=execution_id, now=now, new_uuid=lambda: str(uuid.uuid4())
        ),
        limits=platform.limits,
    )
    context_id = first_context_id(execution_id) if start.variables else None
    values = execution_values(
        found,
        id=execution_id,
        project_id=actor.project_id,
        input=start.input,
        params=start.params,
        description=wanted.description,
        context_id=context_id,
        now=now,
        check_at=now + timedelta(seconds=QUIET_SECONDS),
    )
    writes = [Write("insert", _executions, [values])]
    if context_id is not None:
        variables = variables_values(context_id, execution_id, start.variables)
        writes.append(Write("insert", _contexts, [variables]))
    message = event_message(execution_id, events.ExecutionStarted())
    return New(SimpleNamespace(**values), writes, message)


def _environment(session: Session, actor: Actor, given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    if not isinstance(given, str):
        raise RequestRefused(
            f"Unexpected value type for environment [environment={given}, type={type(given)}]"
        )
    row = session.scalars(
        select(Environment)
        .where(Environment.name == given, actors.visible(Environment, actor, everything=False))
        .order_by(Environment.project_id != actor.project_id)
    ).first()
    if row is None:
        raise RequestRefused(f"Environment is not found: {given}")
    return dict(row.variables or {})


def await_start(database: Database, id: str | None = None) -> None:
    """Let executions that were created just now, or the one with *id*, get their first tasks.

    In Mistral they have them when they have been created; clients look for them at once. Here the
    engine makes them a moment later. An engine that is away or busy is waited for only briefly.
    """
    deadline = time.monotonic() + START_PATIENCE
    query = _NOT_BEGUN.where(E.created_at > utcnow() - timedelta(seconds=START_PATIENCE))
    if id is not None:
        query = query.where(E.id == id)
    while time.monotonic() < deadline:
        with database.read() as session:
            waiting = session.execute(query).all()
        if not waiting or len(waiting) > FEW:
            return
        time.sleep(_LOOK)


# --- control ---------------------------------------------------------------------------------


def apply(session: Session, platform: Platform, id: str, found: Sequence[Event]) -> None:
    """Apply events to one execution in the transaction of *session*.

    Actions run elsewhere: whoever asked gets an answer at once, with the state before they ran.
    """
    session.flush()
    applied = engine.apply_in(session, platform, {id: list(found)}, inline_steps=0)
    if applied.failed:
        raise RuntimeError(f"no decision on execution {id}; the log tells why")
    if applied.stopped:
        listening.listen(
            session,
            "after_commit",
            lambda _: engine.tell_stopped(platform, applied.stopped),
            once=True,
        )
    session.expire_all()


def locked(session: Session, actor: Actor, id: str) -> WorkflowExecution:
    """The execution, locked: its state stays what it is until the transaction ends."""
    engine.lock(session, [id])
    row = get(session, actor, id)
    session.refresh(row)
    actors.require_owner(actor, row)
    return row


def _require_transition(row: WorkflowExecution, target: State) -> None:
    current = State(row.state)
    if target is not current and target not in EXECUTION_TRANSITIONS[current]:
        raise StateRefused(
            f"Can't change workflow execution state from {current} to {target}. "
            f"[workflow={row.workflow_name}, execution_id={row.id}]"
        )


def pause(session: Session, platform: Platform, actor: Actor, id: str) -> WorkflowExecution:
    """Let nothing new start; its sub-workflows are told to pause too."""
    row = locked(session, actor, id)
    _require_transition(row, State.PAUSED)
    apply(session, platform, id, [events.PauseRequested()])
    return get(session, actor, id)


def resume(
    session: Session,
    platform: Platform,
    actor: Actor,
    id: str,
    *,
    env: Mapping[str, Any] | None = None,
) -> WorkflowExecution:
    """Let a paused execution go on; any other is returned as it is."""
    row = locked(session, actor, id)
    if env:
        _require_environment_change(row)
    if row.state == State.PAUSED:
        apply(session, platform, id, [events.ResumeRequested(env=env)])
    return get(session, actor, id)


def stop(
    session: Session,
    platform: Platform,
    actor: Actor,
    id: str,
    *,
    state: str,
    message: str | None = None,
) -> WorkflowExecution:
    """End the execution in SUCCESS, ERROR or CANCELLED.

    A completed one stays as it is; that one which failed or was cancelled be a success is refused.
    """
    row = locked(session, actor, id)
    if row.state in _TERMINAL:
        if state == State.SUCCESS:
            _require_transition(row, State.SUCCESS)
        return row
    _require_transition(row, State(state))
    try:
        event = events.StopRequested(state=State(state), message=message)
        apply(session, platform, id, [event])
    except ExpressionError as err:
        raise Refused(str(err)) from err
    return get(session, actor, id)


def update_description(
    session: Session, actor: Actor, id: str, description: str | None
) -> WorkflowExecution:
    """Describe the execution anew, whatever its state."""
    row = locked(session, actor, id)
    row.description = description
    row.updated_at = utcnow()
    return row


def update_env(
    session: Session, platform: Platform, actor: Actor, id: str, env: Mapping[str, Any]
) -> WorkflowExecution:
    """Lay *env* on the environment of an execution that does not run."""
    row = locked(session, actor, id)
    _require_environment_change(row)
    apply(session, platform, id, [events.EnvironmentUpdated(env=env)])
    return get(session, actor, id)


def _require_environment_change(row: WorkflowExecution) -> None:
    if row.state not in (State.IDLE, State.PAUSED, State.ERROR):
        raise NotAllowed(
            "Updating env to workflow execution is only permitted if it is in IDLE, PAUSED, "
            "or ERROR state."
        )


def delete(
    session: Session, platform: Platform, actor: Actor, id: str, *, force: bool = False
) -> None:
    """Delete an execution with all below it; an unfinished one only by *force*."""
    row = locked(session, actor, id)
    if row.state not in _TERMINAL:
        if not force:
            raise NotAllowed(
                "Only completed executions can be deleted. Use --force to override this. "
                f"Execution {id} is in {row.state} state"
            )
        apply(
            session, platform, id, [events.StopRequested(state=State.CANCELLED, message="deleted")]
        )
    for each in _with_descendants(session, id):
        session.execute(delete_rows(WorkflowExecution).where(E.id == each))
    session.expire_all()


def _with_descendants(session: Session, id: str) -> list[str]:
    """The execution and all sub-workflows below it, the deepest first."""
    levels = [[id]]
    while levels[-1]:
        levels.append(
            list(session.scalars(select(E.id).where(E.parent_execution_id.in_(levels[-1]))))
        )
    return [each for level in reversed(levels) for each in level]
