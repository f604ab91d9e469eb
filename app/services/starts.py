"""Starting a workflow for a client, in a unit of work of its own.

What was started before is started again without reading anything: the workflow is remembered, and
the execution is written on the condition that all this still holds.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import IntegrityError

from app.core.execution import FoundWorkflow
from app.models import Changed, WorkflowDefinition, Write

from . import executions, maintenance
from .actors import Actor
from .executions import Shown, Wanted
from .outbox import unit_of_work, write_last
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
    if not wanted.workflow or wanted.source_execution_id:
        return None
    called = (actor.project_id, wanted.workflow, wanted.namespace)
    found = platform.workflows.get(called)
    if found is None:
        return None
    try:
        with unit_of_work(platform.database, platform.broker) as session:
            started = executions.create_of(session, platform, actor, found, wanted, last=True)
            write_last(session, [_as_it_was(found, actor), maintenance.NOT_UNDER_WAY])
    except (Changed, IntegrityError):
        # The definition, the maintenance or, with an id given twice, the execution itself: who
        # reads all of it tells which.
        platform.workflows.forget(called)
        return None
    return started


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
