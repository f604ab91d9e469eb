"""Starting a workflow for a client, in a unit of work of its own.

What was started before is started again without reading anything: the workflow is remembered, and
the execution is written on the condition that all this still holds. Executions that are started at
the same time are written together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import IntegrityError

from app.core.execution import FoundWorkflow
from app.models import Changed, WorkflowDefinition, Write, gathered

from . import executions, maintenance, outbox
from .actors import Actor
from .executions import New, Shown, Wanted
from .outbox import unit_of_work
from .platform import Platform

_definitions: Any = WorkflowDefinition.__table__


def start(platform: Platform, actor: Actor, wanted: Wanted) -> Shown:
    """Start a workflow as ``executions.create`` does; InMaintenance when nothing may be started."""
    started = _start_remembered(platform, actor, wanted)
    if started is not None:
        return started
    with unit_of_work(platform.database, platform.broker) as session:
        maintenance.require_running(session)
        return executions.create(session, platform, actor, wanted, last=True)


def _start_remembered(platform: Platform, actor: Actor, wanted: Wanted) -> Shown | None:
    """The execution; None when nothing is remembered, or something has changed since."""
    env = (wanted.params or {}).get("env")
    if not wanted.workflow or wanted.source_execution_id or not isinstance(env, Mapping | None):
        return None
    called = (actor.project_id, wanted.workflow, wanted.namespace)
    found = platform.workflows.get(called)
    if found is None:
        return None
    created = executions.new(platform, actor, found, wanted, env or {})
    conditions = [_as_it_was(found, actor), maintenance.NOT_UNDER_WAY]
    try:
        platform.starts.add(_Start(created, conditions), partial(_write, platform))
    except (Changed, IntegrityError):
        # The definition, the maintenance or, with an id given twice, the execution itself: who
        # reads all of it tells which.
        platform.workflows.forget(called)
        return None
    return created.shown


@dataclass(frozen=True, slots=True)
class _Start:
    """An execution, and what has to hold for it to be written."""

    created: New
    conditions: Sequence[Write]


def _write(platform: Platform, starts: Sequence[_Start]) -> None:
    """Write executions in one transaction, and send their first messages in one go."""
    writes = [write for each in starts for write in (*each.created.writes, *each.conditions)]
    with unit_of_work(platform.database, platform.broker) as session:
        outbox.write_last(session, gathered(writes))
        outbox.add(session, [each.created.message for each in starts])


def _as_it_was(found: FoundWorkflow, actor: Actor) -> Write:
    """Requires the row of a workflow to have what was read from it."""
    row = {
        "id": found.id,
        "name": found.name,
        "namespace": found.namespace,
        "project_id": actor.project_id,
        "workbook_name": found.workbook,
        "spec_id": found.spec_id,
        "scope": found.scope,
    }
    return Write("require", _definitions, [row])
