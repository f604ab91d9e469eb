"""The journal: the events of each transaction, by which an execution can be decided on again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session, aliased

from app.actions.registry import ActionType, Registry
from app.core import events, replay
from app.core.execution import ActionInfo, Execution, FoundWorkflow
from app.core.language import load_action, load_workflow
from app.core.language.specs import ActionSpec
from app.core.replay import Outcome, Replay, Step
from app.core.states import TERMINAL, State
from app.core.working_copy import Limits
from app.models import Context, JournalEntry, WorkflowExecution, WorkflowSpecRow, Write
from app.services.errors import Refused
from app.services.stored import Found, Stored

FORMAT = 1
_entries: Any = JournalEntry.__table__


def insertion(rows: Sequence[Mapping[str, Any]]) -> Write:
    """What writes the rows that ``entry`` gave."""
    return Write("insert", _entries, rows)


def entry(
    execution: Execution, revision: int, now: datetime, rounds: Sequence[Any], commands: Any
) -> dict[str, Any]:
    """The row of one transaction."""
    return {
        "workflow_execution_id": execution.id,
        "revision": revision,
        "now": now,
        "rounds": [[events.dump(event) for event in batch] for batch in rounds],
        "fingerprint": replay.fingerprint(execution, commands),
    }


def prune(session: Session, *, older_than: datetime, limit: int) -> int:
    """Delete at most *limit* entries of finished executions older than *older_than*; how many."""
    execution = aliased(WorkflowExecution)
    unfinished = exists().where(
        execution.id == JournalEntry.workflow_execution_id,
        execution.state.not_in([str(state) for state in TERMINAL]),
    )
    found = session.execute(
        select(JournalEntry.workflow_execution_id, JournalEntry.revision)
        .where(JournalEntry.now < older_than, ~unfinished)
        .order_by(JournalEntry.now)
        .limit(limit)
    ).all()
    for execution_id in {row.workflow_execution_id for row in found}:
        revisions = [row.revision for row in found if row.workflow_execution_id == execution_id]
        session.execute(
            delete(JournalEntry).where(
                JournalEntry.workflow_execution_id == execution_id,
                JournalEntry.revision.in_(revisions),
            )
        )
    return len(found)


# --- export -----------------------------------------------------------------------------------


def export(
    session: Session, registry: Registry, row: WorkflowExecution, limits: Limits
) -> dict[str, Any]:
    """A recording of an execution: all that deciding on it again needs, as plain data.

    Refused when a part of its journal is gone.
    """
    rows = session.execute(
        select(_entries)
        .where(_entries.c.workflow_execution_id == row.id)
        .order_by(_entries.c.revision)
    ).all()
    if [each.revision for each in rows] != list(range(1, row.revision + 1)):
        raise Refused(f"The journal of execution {row.id} is not complete any more.")
    root = session.get(WorkflowExecution, row.root_execution_id) if row.root_execution_id else row
    variables = session.scalar(select(Context.data).where(Context.id == row.id))
    raw = session.scalar(select(WorkflowSpecRow.data).where(WorkflowSpecRow.id == row.spec_id))
    recording: dict[str, Any] = {
        "format": FORMAT,
        "execution": {
            "id": row.id,
            "name": row.workflow_name,
            "namespace": row.workflow_namespace,
            "workbook": row.workbook_name,
            "workflow_id": row.workflow_id,
            "description": row.description,
            "project_id": row.project_id,
            "created_at": row.created_at.isoformat(),
            "params": row.params,
            "parent_execution_id": row.parent_execution_id,
            "parent_task_id": row.task_execution_id,
            "root_id": row.root_execution_id,
            "index": row.item_index,
            "depth": row.depth,
            "context_id": row.id if variables else None,
        },
        "workflow": raw,
        "input": row.input,
        "environment": (root.params or {}).get("env") or {} if root else {},
        "variables": variables,
        "limits": {
            "field_size_kb": limits.field_size_kb, "depth": limits.depth, "items": limits.items,
        },
        "transactions": [
            {
                "revision": each.revision,
                "now": each.now.isoformat(),
                "rounds": each.rounds,
                "fingerprint": each.fingerprint,
            }
            for each in rows
        ],
    }  # fmt: skip
    seen = _Seen(
        Stored(
            session,
            _execution(recording["execution"]),
            registry,
            tasks={},
            actions={},
            complete=True,
            definitions_found=Found(),
        )
    )
    for _ in play(recording, seen):
        pass  # Only for the definitions that it asks for.
    recording["actions"], recording["workflows"] = seen.actions, seen.workflows
    return recording


@dataclass(slots=True)
class _Seen:
    """Definitions as they are stored, and a note of what was asked for."""

    stored: Stored
    actions: dict[str, Any] = field(default_factory=dict)
    workflows: dict[str, Any] = field(default_factory=dict)

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        found = self.stored.find_action(name, namespace=namespace, workbook=workbook)
        self.actions[name] = None
        if isinstance(found, ActionSpec):
            self.actions[name] = {"name": found.name, "definition": found.raw}
        elif found is not None:
            self.actions[name] = {"name": found.name, "asynchronous": found.asynchronous}
        return found

    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        found = self.stored.find_workflow(name, namespace=namespace, workbook=workbook)
        self.workflows[name] = found and {
            "id": found.id,
            "name": found.name,
            "namespace": found.namespace,
            "workbook": found.workbook,
            "definition": found.spec.raw,
        }
        return found


# --- replay -----------------------------------------------------------------------------------


class BadRecording(ValueError):
    """A file is no recording of an execution, or one of another version."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The definitions that a recording holds; actions that are known here check their input."""

    recording: Mapping[str, Any]
    registry: Registry

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        known = self.recording["actions"].get(name)
        if known is None:
            return None
        if "definition" in known:
            return load_action(known["definition"])
        found = self.registry.find(known["name"])
        return found or ActionType(
            name=known["name"],
            run=_not_run,
            accepts_any=True,
            asynchronous=known["asynchronous"],
        )

    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        known = self.recording["workflows"].get(name)
        return known and FoundWorkflow(
            id=known["id"],
            name=known["name"],
            namespace=known["namespace"],
            workbook=known["workbook"],
            spec=load_workflow(known["definition"]),
            spec_id="",
        )


def _not_run(*_: Any) -> Any:
    raise AssertionError("a replay runs no action")


def play(recording: Mapping[str, Any], definitions: replay.Definitions) -> Iterator[Outcome]:
    """Decide on an execution again; each transaction with what it leads to.

    Raises BadRecording.
    """
    try:
        if recording["format"] != FORMAT:
            raise BadRecording(f"expected format {FORMAT}, got {recording['format']!r}")
        played = Replay(
            load_workflow(recording["workflow"]),
            _execution(recording["execution"]),
            input=recording["input"] or {},
            environment=recording["environment"],
            variables=recording["variables"],
            definitions=definitions,
            limits=Limits(**recording["limits"]),
        )
        steps = [
            Step(
                revision=each["revision"],
                now=datetime.fromisoformat(each["now"]),
                rounds=[[events.load(event) for event in batch] for batch in each["rounds"]],
                fingerprint=each["fingerprint"],
            )
            for each in recording["transactions"]
        ]
    except (KeyError, TypeError, AttributeError) as err:
        raise BadRecording(f"no recording of an execution: {type(err).__name__}: {err}") from err
    return played.play(steps)


def _execution(facts: Mapping[str, Any]) -> Execution:
    values = {key: value for key, value in facts.items() if key not in ("created_at", "params")}
    return Execution(
        state=State.RUNNING,
        created_at=datetime.fromisoformat(facts["created_at"]),
        params=dict(facts["params"] or {}),
        **values,
    )
