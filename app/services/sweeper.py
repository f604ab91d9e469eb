"""The sweeper: looks after what was left behind.

Every unfinished thing has a time at which somebody should look at it. The sweeper looks only at
what is overdue, a little at a time, and what it then does are the ordinary operations once more,
each of which means nothing when it was not needed. Several sweepers may run at once.

| found | means | done |
| --- | --- | --- |
| action: result in the ledger | the message with the result was lost | the result is sent again |
| action: live lease | it runs | nothing; looked at again later |
| action: lease ran out | its executor died | run again if that is safe, else ERROR |
| action: nothing | nobody began it | dispatched again |
| action: a Celery task of somebody else | it may be lost | its workers are asked |
| action: nothing, and Redis lost its data since | nobody knows | run again if safe, else ERROR |
| execution: nothing happened for long | perhaps an event was lost | it is nudged |
| sub-workflow ended, its task did not | perhaps its event was lost | it is sent again |
| messages in the outbox | the broker was away | they are sent |

What was repaired is counted; in a quiet installation the counts stand still.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import prometheus_client
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session, aliased

from app.actions.registry import CELERY_PREFIX, Registry
from app.broker import Message, engine_message
from app.core import events
from app.core.states import State
from app.ledger import Absent, Claimed, Expired, Finished, Standing
from app.models.rows import ActionExecution, Setting, TaskExecution, WorkflowExecution
from app.services import carry_out, code_sources, foreign, outbox
from app.services.clock import database_now
from app.services.outbox import unit_of_work
from app.services.platform import Platform

log = logging.getLogger(__name__)

#: Seconds until an execution in which nothing happens is looked at again.
EXECUTION_CHECK = 60.0
#: Seconds that a message may stay in the outbox before somebody else sends it.
OUTBOX_PATIENCE = 5.0
#: Longest seconds between two looks at an action that nobody began.
LONGEST_WAIT = 600.0
#: Name of the setting with the totals of all repairs.
REPAIRS = "repairs"
#: Name of the setting with the ledger's epoch, and since when it is that.
EPOCH = "ledger_epoch"

OUTCOME_UNKNOWN = (
    "The outcome of the action is unknown: Redis lost its data while the action was under way,"
    " and it cannot be re-run safely [action={name}]."
)
EXECUTOR_DIED = (
    "Request to run an action was redelivered, but it cannot be re-run safely. The only safe"
    " thing to do is fail it [action={name}]."
)

_UNFINISHED = (State.RUNNING, State.PAUSED, State.IDLE)
_repairs = prometheus_client.Counter(
    "celeriac_repairs", "What the sweeper had to repair.", ["kind"]
)


def sweep(platform: Platform, *, limit: int = 500) -> Counter[str]:
    """Look once at what is overdue, at most *limit* of each kind; what was repaired, by kind."""
    repairs: Counter[str] = Counter()
    lost_at = _when_data_was_lost(platform)
    repairs["outbox"] += outbox.resend(
        platform.database,
        platform.broker,
        older_than=timedelta(seconds=OUTBOX_PATIENCE),
        lost_at=lost_at,
        limit=limit,
    )
    repairs += _sweep_actions(platform, limit, lost_at)
    repairs += _sweep_executions(platform, limit)
    repairs = +repairs
    if repairs:
        log.warning("repaired: %s", dict(repairs))
        _count(platform, repairs)
    return repairs


# --- actions ---------------------------------------------------------------------------------


def _sweep_actions(platform: Platform, limit: int, lost_at: datetime | None) -> Counter[str]:
    config = platform.config
    with platform.database.sessions.begin() as session:
        now = database_now(session)
        rows = session.scalars(
            select(ActionExecution)
            .where(ActionExecution.check_at <= now)
            .order_by(ActionExecution.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        if not rows:
            return Counter()
        # Moved on before anything else: a sweeper that dies, or another one that comes now,
        # does not do the same at the same time. Rarer the longer nothing is heard.
        _postpone(
            session,
            {
                row.id: None
                if not (_awaited(row) or _elsewhere(row))
                else now
                + timedelta(
                    seconds=min(
                        LONGEST_WAIT,
                        max(
                            config.dispatch_check_seconds,
                            (now - row.created_at).total_seconds(),
                        ),
                    )
                )
                for row in rows
            },
        )
        session.expunge_all()
    awaited = [row for row in rows if _awaited(row)]
    standings = platform.ledger.look([row.id for row in awaited])
    repairs: Counter[str] = Counter()
    with unit_of_work(platform.database, platform.broker) as session:
        now = database_now(session)
        again: dict[str, datetime | None] = {}
        for row in awaited:
            standing = standings[row.id]
            if isinstance(standing, Claimed):
                again[row.id] = now + timedelta(seconds=standing.seconds + 1)
                continue
            try:
                kind, messages = _repair(session, platform.registry, row, standing, lost_at)
            except Exception:  # a fault of ours about one action must not leave the rest alone
                log.exception("action %s cannot be repaired; tried again later", row.id)
                continue
            if kind is None:
                again[row.id] = None  # its result comes from outside, whenever that is
                continue
            repairs[kind] += 1
            outbox.add(session, messages)
        outbox.add(
            session,
            [
                foreign.check_message(_request(row), age=(now - row.created_at).total_seconds())
                for row in rows
                if _elsewhere(row)
            ],
        )
        _postpone(session, again)
    return repairs


def _awaited(row: ActionExecution) -> bool:
    """True for what an executor of ours is to report on."""
    if row.state != State.RUNNING or not row.dispatched:
        return False
    base = _base(row)
    # A task of somebody else's workers claims nothing; one that waits for a word from outside
    # is not sent anywhere.
    return not base.startswith(CELERY_PREFIX) and (
        base != "std.async_noop" or bool((row.dispatch or {}).get("target"))
    )


def _elsewhere(row: ActionExecution) -> bool:
    """True for a task in somebody else's worker: whether it still is there, others find out."""
    return row.state == State.RUNNING and row.dispatched and _base(row).startswith(CELERY_PREFIX)


def _request(row: ActionExecution) -> dict[str, Any]:
    return {
        "id": row.id,
        "execution_id": row.workflow_execution_id,
        "action": _base(row),
        "input": (row.dispatch or {}).get("base_input", row.input),
    }


def _repair(
    session: Session,
    registry: Registry,
    row: ActionExecution,
    standing: Standing,
    lost_at: datetime | None,
) -> tuple[str | None, Sequence[Message]]:
    """What an action needs; None when all that is expected comes from outside."""
    safe = bool((row.dispatch or {}).get("safe_rerun"))
    match standing:
        case Finished():
            event = completion(row.id, standing.result)
            if event is None:
                return None, ()
            return "result", [engine_message(row.workflow_execution_id, event)]
        case Expired() if not safe:
            return "executor died", [_failed(row, EXECUTOR_DIED)]
        case Absent() if not safe and lost_at is not None and row.created_at <= lost_at:
            return "outcome unknown", [_failed(row, OUTCOME_UNKNOWN)]
        case _:
            message = code_sources.with_code(
                session,
                registry,
                _message(session, row),
                namespace=row.workflow_namespace,
                project_id=row.project_id,
            )
            return "dispatch", [message]


def _message(session: Session, row: ActionExecution) -> Message:
    """The message that has an executor run the action, as it was sent the first time."""
    dispatch = row.dispatch or {}
    task = session.get(TaskExecution, row.task_execution_id) if row.task_execution_id else None
    context: dict[str, Any] = {
        "action_execution_id": row.id,
        "callback_url": f"/v2/action_executions/{row.id}",
        "project_id": row.project_id,
    }
    if task is not None:
        context |= {
            "workflow_name": row.workflow_name,
            "workflow_execution_id": row.workflow_execution_id,
            "task_name": task.name,
            "task_execution_id": task.id,
            "with_items_index": row.item_index
            if "with_items" in (task.runtime_context or {})
            else None,
        }
    return carry_out.request_message(
        {
            "id": row.id,
            "execution_id": row.workflow_execution_id,
            "task_id": row.task_execution_id,
            "attempt": 1,
            "action": _base(row),
            "input": dispatch.get("base_input", row.input),
            "context": context,
            "timeout": dispatch.get("timeout"),
            "safe_rerun": bool(dispatch.get("safe_rerun")),
            "asynchronous": not row.is_sync,
            "sync_reply": False,
        },
        target=dispatch.get("target"),
    )


def _base(row: ActionExecution) -> str:
    return str((row.dispatch or {}).get("base", row.name))


def completion(action_id: str, result: Any) -> dict[str, Any] | None:
    """The event that a stored result stands for; None if the result is yet to come."""
    if not result.get("state"):
        return None
    return {
        "kind": "ActionCompleted",
        "action_id": action_id,
        "state": result["state"],
        "result": result.get("result"),
    }


def _failed(row: ActionExecution, text: str) -> Message:
    event = events.ActionCompleted(
        action_id=row.id, state=State.ERROR, result=text.format(name=row.name)
    )
    return engine_message(row.workflow_execution_id, events.dump(event))


def _postpone(session: Session, times: dict[str, datetime | None]) -> None:
    if not times:
        return
    session.connection().execute(
        update(ActionExecution.__table__)  # type: ignore[arg-type]
        .where(ActionExecution.id == bindparam("which"))
        .values(check_at=bindparam("at")),
        [{"which": which, "at": at} for which, at in sorted(times.items())],
    )


def _when_data_was_lost(platform: Platform) -> datetime | None:
    """When we noticed last that Redis knows nothing of what was before; None if never."""
    epoch = platform.ledger.epoch()
    with platform.database.read() as session:
        row = session.get(Setting, EPOCH)
        known = row.value if row is not None else None
    if known is None or known["epoch"] != epoch:
        known = _note_epoch(platform, epoch)
    return datetime.fromisoformat(known["lost_at"]) if known["lost_at"] else None


def _note_epoch(platform: Platform, epoch: str) -> dict[str, Any]:
    with platform.database.sessions.begin() as session:
        now = database_now(session)
        row = session.get(Setting, EPOCH, with_for_update=True)
        if row is None:
            row = Setting(name=EPOCH, value={"epoch": epoch, "lost_at": None}, updated_at=now)
            session.add(row)
        elif row.value["epoch"] != epoch:
            log.error("Redis lost its data: the outcome of actions under way may be unknown")
            row.value = {"epoch": epoch, "lost_at": now.isoformat()}
            row.updated_at = now
            _look_at_everything(session, now)
        return dict(row.value)


def _look_at_everything(session: Session, now: datetime) -> None:
    """Have all that is unfinished looked at soon: messages about it are gone."""
    quietly = {"synchronize_session": False}
    session.execute(
        update(WorkflowExecution)
        .where(WorkflowExecution.state.in_(_UNFINISHED), WorkflowExecution.check_at > now)
        .values(check_at=now),
        execution_options=quietly,
    )
    session.execute(
        update(ActionExecution)
        .where(ActionExecution.state == State.RUNNING, ActionExecution.check_at > now)
        .values(check_at=now),
        execution_options=quietly,
    )


# --- executions ------------------------------------------------------------------------------


def _sweep_executions(platform: Platform, limit: int) -> Counter[str]:
    repairs: Counter[str] = Counter()
    with unit_of_work(platform.database, platform.broker) as session:
        now = database_now(session)
        ids = session.scalars(
            select(WorkflowExecution.id)
            .where(WorkflowExecution.check_at <= now)
            .order_by(WorkflowExecution.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        if not ids:
            return repairs
        running = set(
            session.scalars(
                select(WorkflowExecution.id).where(
                    WorkflowExecution.id.in_(ids), WorkflowExecution.state.in_(_UNFINISHED)
                )
            )
        )
        session.connection().execute(
            update(WorkflowExecution.__table__)  # type: ignore[arg-type]
            .where(WorkflowExecution.id == bindparam("which"))
            .values(check_at=bindparam("at")),
            [
                {
                    "which": which,
                    "at": now + timedelta(seconds=EXECUTION_CHECK) if which in running else None,
                }
                for which in sorted(ids)
            ],
        )
        messages = [
            engine_message(which, events.dump(events.Nudged())) for which in sorted(running)
        ]
        for parent_id, event in _endings(session, sorted(running)):
            messages.append(engine_message(parent_id, event))
            repairs["sub-workflow"] += 1
        outbox.add(session, messages)
    return repairs


def _endings(session: Session, parents: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Events of sub-workflows that ended although their task does not seem to know."""
    if not parents:
        return []
    child, task = aliased(WorkflowExecution), aliased(TaskExecution)
    rows = session.execute(
        select(child, task.workflow_execution_id)
        .join(task, child.task_execution_id == task.id)
        .where(
            task.workflow_execution_id.in_(parents),
            task.state.in_([State.RUNNING, State.PAUSED]),
            child.state.in_([State.SUCCESS, State.ERROR, State.CANCELLED]),
            child.accepted.is_(False),
        )
        .limit(500)
    ).all()
    found = []
    for row, parent_id in rows:
        event = events.ChildCompleted(
            task_id=row.task_execution_id or "",
            child_id=row.id,
            index=row.item_index,
            state=State(row.state),
            output=row.output,
        )
        found.append((parent_id, events.dump(event)))
    return found


# --- counting --------------------------------------------------------------------------------


def _count(platform: Platform, repairs: Counter[str]) -> None:
    for kind, number in repairs.items():
        _repairs.labels(kind).inc(number)
    with platform.database.sessions.begin() as session:
        now = database_now(session)
        row = session.get(Setting, REPAIRS, with_for_update=True)
        if row is None:
            session.execute(
                insert(Setting).values(name=REPAIRS, value=dict(repairs), updated_at=now)
            )
        else:
            row.value = dict(Counter(row.value) + repairs)
            row.updated_at = now
