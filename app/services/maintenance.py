"""Pausing the whole installation, and resuming it.

RUNNING, then PAUSING while what runs comes to its end, then PAUSED. Executions that users had
paused themselves stay paused afterwards: who was paused by maintenance is remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.core.errors import CoreError
from app.core.states import State
from app.models import Setting, TaskExecution, WorkflowExecution, Write, utcnow

from . import executions, outbox
from .actors import SYSTEM, Actor
from .errors import InMaintenance, Refused, ServiceError
from .platform import Platform

log = logging.getLogger(__name__)

RUNNING = "RUNNING"
PAUSING = "PAUSING"
PAUSED = "PAUSED"
STATUSES = (PAUSING, PAUSED, RUNNING)

_NAME = "maintenance"
#: Executions paused or resumed in one transaction.
_BATCH = 20


#: There is a row of that name unless the installation is, and was for a while, RUNNING.
NOT_UNDER_WAY = Write("forbid", Setting.__table__, [{"name": _NAME}])  # type: ignore[arg-type]
#: Made once and of plain columns: every request that writes asks it.
_STATUS = select(Setting.__table__.c.value).where(Setting.__table__.c.name == _NAME)


def status(session: Session) -> str:
    """RUNNING, PAUSING or PAUSED."""
    value = session.execute(_STATUS).scalar()
    return str(value["status"]) if value else RUNNING


def require_running(session: Session, unless: Callable[[str], bool] = lambda _: False) -> None:
    """Raise InMaintenance unless the installation is RUNNING, or *unless* lets its status pass."""
    now = status(session)
    if now != RUNNING and not unless(now):
        raise InMaintenance(now)


def change(session: Session, actor: Actor, *, wanted: str | None) -> str:
    """Ask for PAUSED or RUNNING; the status that follows at once.

    ``advance`` does the rest.
    """
    if wanted == PAUSING:
        raise Refused("PAUSING is intermediate state. Consider PAUSED, RUNNING as new state")
    if wanted not in STATUSES:
        raise Refused(f"Not found {wanted} maintenance state. List of states: {list(STATUSES)}")
    row = _row(session)
    now = str(row.value["status"])
    if wanted == RUNNING and now != RUNNING:
        row.value = {"status": RUNNING, "paused": row.value["paused"]}
    elif wanted == PAUSED and now == RUNNING:
        row.value = {"status": PAUSING, "paused": row.value["paused"]}
    else:
        _settle(session, row)
        return now
    row.updated_at = utcnow()
    log.info("maintenance: %s asked for %s", actor.user_id or actor.project_id, wanted)
    return str(row.value["status"])


def advance(platform: Platform) -> str:
    """Pause what runs, or resume what was paused, a batch per transaction; the status after it.

    Costs one small query when nothing is to be done. May be called by anybody at any time.
    """
    with platform.database.read() as session:
        value = session.execute(_STATUS).scalar()
    if not value or (value["status"] == RUNNING and not value["paused"]):
        return RUNNING
    if value["status"] == PAUSED:
        return PAUSED
    while True:
        with outbox.unit_of_work(platform.database, platform.broker) as session:
            row = _row(session)
            if row.value["status"] == PAUSING:
                more = _pause_some(session, platform, row)
            elif row.value["status"] == RUNNING:
                more = _resume_some(session, platform, row)
            else:
                more = False
            now = str(row.value["status"])
        if not more:
            return now


def _row(session: Session) -> Setting:
    """The setting, locked: one process at a time pauses or resumes."""
    query = select(Setting).where(Setting.name == _NAME).with_for_update()
    while (row := session.scalar(query)) is None:
        new = Setting(name=_NAME, value={"status": RUNNING, "paused": []}, updated_at=utcnow())
        try:
            with session.begin_nested():
                session.add(new)
        except IntegrityError:
            # Somebody else has just made it, or even removed it again.
            continue
    return row


def _settle(session: Session, row: Setting) -> None:
    """Remove the setting when there is nothing left to be told by it."""
    if row.value["status"] == RUNNING and not row.value["paused"]:
        session.delete(row)


def _pause_some(session: Session, platform: Platform, row: Setting) -> bool:
    """Pause a batch of running executions; whether there may be more."""
    paused: list[str] = list(row.value["paused"])
    failed: list[str] = list(row.value.get("failed", ()))
    ids = session.scalars(
        select(WorkflowExecution.id)
        .where(
            WorkflowExecution.state == State.RUNNING,
            WorkflowExecution.id.not_in([*failed, *paused]),
        )
        .order_by(WorkflowExecution.id)
        .limit(_BATCH)
    ).all()
    for execution_id in ids:
        if _try(session, platform, executions.pause, execution_id):
            paused.append(execution_id)
        else:
            failed.append(execution_id)
    value: dict[str, Any] = {"status": PAUSING, "paused": paused}
    if failed:
        value["failed"] = failed
    if not ids and not _busy(session):
        value = {"status": PAUSED, "paused": paused}
    row.value = value
    row.updated_at = utcnow()
    return bool(ids)


def _busy(session: Session) -> bool:
    """Whether some task still runs an action."""
    return bool(session.scalar(select(exists().where(TaskExecution.state == State.RUNNING))))


def _resume_some(session: Session, platform: Platform, row: Setting) -> bool:
    paused: list[str] = list(row.value["paused"])
    now, later = paused[:_BATCH], paused[_BATCH:]
    for execution_id in now:
        _try(session, platform, executions.resume, execution_id)
    row.value = {"status": RUNNING, "paused": later}
    row.updated_at = utcnow()
    _settle(session, row)
    return bool(later)


def _try(session: Session, platform: Platform, control: Any, id: str) -> bool:
    try:
        with session.begin_nested():
            control(session, platform, SYSTEM, id)
    except (ServiceError, CoreError) as err:
        log.warning("maintenance: execution %s: %s", id, err)
        return False
    return True
