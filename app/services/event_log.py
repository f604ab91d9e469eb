"""The event log: what happened to each execution, written in the transaction that made it so.

An entry is a row with a number, from 1 and without gaps in each execution. Executions that have
publishers get a row for each delivery as well, and one message that wakes the notifier. Names and
payloads are Mistral's, null for changes that it gives no name.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session, aliased

from app.broker import NOTIFIER_DELIVER, NOTIFY_QUEUE, Message
from app.core.evaluation import text_of_time
from app.core.states import TERMINAL
from app.models import LogEvent, Notification, WorkflowExecution, Write
from app.services import outbox, signals

log = logging.getLogger(__name__)

#: ``next_attempt_at`` of a delivery that has not been tried: past by every clock.
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)


_events: Any = LogEvent.__table__
_notifications: Any = Notification.__table__


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One thing that happened."""

    execution_id: str
    root_execution_id: str
    project_id: str
    #: From 1 in each execution, without gaps.
    number: int
    #: ``WORKFLOW_LAUNCHED``, ``TASK_SUCCEEDED``, ...; None for a change without a name.
    event: str | None
    #: What publishers get: ``payload_of_execution`` or ``payload_of_task``.
    data: Mapping[str, Any]
    created_at: datetime
    #: The publisher objects of the execution, as the user wrote them.
    publishers: Sequence[Any] = ()


class ExecutionFacts(Protocol):
    """What a payload tells of an execution; a WorkflowExecution row has it."""

    id: Any
    workflow_name: Any
    workflow_namespace: Any
    workflow_id: Any
    state: Any
    state_info: Any
    project_id: Any
    task_execution_id: Any
    root_execution_id: Any
    created_at: Any
    updated_at: Any


class TaskFacts(Protocol):
    """What a payload tells of a task; a TaskExecution row has it."""

    id: Any
    name: Any
    workflow_execution_id: Any
    workflow_name: Any
    workflow_namespace: Any
    workflow_id: Any
    state: Any
    state_info: Any
    type: Any
    project_id: Any
    created_at: Any
    updated_at: Any
    started_at: Any
    finished_at: Any


_UNSET: Any = object()


def payload_of_execution(
    execution: ExecutionFacts,
    *,
    event: str | None,
    state: str | None = None,
    state_info: str | None = _UNSET,
    updated_at: datetime | None = None,
) -> dict[str, Any]:
    """The payload of an event of *execution*.

    The keywords replace what the row says: a row shows the last state of a transaction, an event
    the state at its moment.
    """
    return {
        "id": execution.id,
        "name": execution.workflow_name,
        "workflow_name": execution.workflow_name,
        "workflow_namespace": execution.workflow_namespace,
        "workflow_id": execution.workflow_id,
        "state": str(state or execution.state),
        "state_info": execution.state_info if state_info is _UNSET else state_info,
        "project_id": execution.project_id,
        "task_execution_id": execution.task_execution_id,
        "root_execution_id": execution.root_execution_id,
        "created_at": text_of_time(execution.created_at),
        "updated_at": text_of_time(updated_at or execution.updated_at),
        "event": event,
    }


def payload_of_task(
    task: TaskFacts,
    *,
    event: str | None,
    state: str | None = None,
    state_info: str | None = _UNSET,
    updated_at: datetime | None = None,
) -> dict[str, Any]:
    """The payload of an event of *task*; the keywords replace what the row says."""
    return {
        "id": task.id,
        "name": task.name,
        "workflow_execution_id": task.workflow_execution_id,
        "workflow_name": task.workflow_name,
        "workflow_namespace": task.workflow_namespace,
        "workflow_id": task.workflow_id,
        "state": str(state or task.state),
        "state_info": task.state_info if state_info is _UNSET else state_info,
        "type": task.type,
        "project_id": task.project_id,
        "created_at": text_of_time(task.created_at),
        "updated_at": text_of_time(updated_at or task.updated_at),
        "started_at": text_of_time(task.started_at),
        "finished_at": text_of_time(task.finished_at),
        "event": event,
    }


def publishers_of(params: Mapping[str, Any] | None, everywhere: Sequence[Any] = ()) -> list[Any]:
    """The publishers of an execution with *params*, and those of the installation after them.

    What is no list, or no object in the list, is left out without a word, as Mistral does.
    """
    own = (params or {}).get("notify")
    named = [*(own if isinstance(own, list) else ()), *everywhere]
    return [each for each in named if isinstance(each, Mapping)]


def append(session: Session, entries: Sequence[LogEntry]) -> list[Write]:
    """What writes *entries*, and what the notifier needs, in the transaction of *session*.

    The caller writes it, after the executions; messages and signals are seen to here.
    """
    if not entries:
        return []
    writes = [
        Write(
            "insert",
            _events,
            [
                {
                    "workflow_execution_id": entry.execution_id,
                    "root_execution_id": entry.root_execution_id,
                    "project_id": entry.project_id,
                    "number": entry.number,
                    "event": entry.event,
                    "data": entry.data,
                    "created_at": entry.created_at,
                }
                for entry in entries
            ],
        )
    ]
    deliveries = [row for entry in entries if entry.publishers for row in _deliveries(entry)]
    if deliveries:
        writes.append(Write("insert", _notifications, deliveries))
        lanes = dict.fromkeys(
            (row["workflow_execution_id"], row["publisher_key"]) for row in deliveries
        )
        outbox.add(
            session,
            [
                # One for each lane, so that a publisher that hangs delays no other.
                Message(task=NOTIFIER_DELIVER, queue=NOTIFY_QUEUE, args=[*lane, None])
                for lane in lanes
            ],
        )
    signals.announce_after_commit(session, entries)
    return writes


def _deliveries(entry: LogEntry) -> Iterable[dict[str, Any]]:
    for publisher in entry.publishers:
        if not isinstance(publisher, Mapping):
            continue
        types = publisher.get("event_types")
        if types and (not isinstance(types, list | tuple) or entry.event not in types):
            continue
        if not isinstance(publisher.get("type"), str):
            log.warning(
                "a publisher of execution %s has no type and gets nothing", entry.execution_id
            )
            continue
        yield {
            "workflow_execution_id": entry.execution_id,
            "project_id": entry.project_id,
            "number": entry.number,
            "event": entry.event,
            "data": entry.data,
            "publisher": publisher,
            "publisher_key": publisher_key(publisher),
            "state": "pending",
            "attempts": 0,
            "next_attempt_at": AT_ONCE,
            "created_at": entry.created_at,
        }


def publisher_key(publisher: Mapping[str, Any]) -> str:
    """The same text for the same publisher: with the execution's id it names a lane."""
    return hashlib.sha256(json.dumps(publisher, sort_keys=True).encode()).hexdigest()


def read(
    session: Session, execution_id: str, *, after: int = 0, limit: int = 100
) -> list[LogEvent]:
    """The entries of one execution with a number above *after*, in order."""
    return list(
        session.scalars(
            select(LogEvent)
            .where(LogEvent.workflow_execution_id == execution_id, LogEvent.number > after)
            .order_by(LogEvent.number)
            .limit(limit)
        )
    )


def last_id(session: Session) -> int:
    """The id of the newest entry of all; 0 when there is none."""
    return session.scalar(select(LogEvent.id).order_by(LogEvent.id.desc()).limit(1)) or 0


def prune(session: Session, *, older_than: datetime, limit: int = 1000) -> int:
    """Delete at most *limit* entries older than *older_than*; return how many.

    Entries of unfinished executions stay, whatever their age: who follows one can always read it
    from the beginning.
    """
    execution = aliased(WorkflowExecution)
    unfinished = exists().where(
        execution.id == LogEvent.workflow_execution_id,
        execution.state.not_in([str(state) for state in TERMINAL]),
    )
    chosen = (
        select(LogEvent.id)
        .where(LogEvent.created_at < older_than, ~unfinished)
        .order_by(LogEvent.created_at)
        .limit(limit)
    )
    ids = list(session.scalars(chosen))
    if ids:
        session.execute(delete(LogEvent).where(LogEvent.id.in_(ids)))
    return len(ids)
