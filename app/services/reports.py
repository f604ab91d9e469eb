"""Trees of executions: what runs below an execution, and how far it is.

A tree is read level by level with a few queries, whatever its size; it may have at most so many
nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from app.core.states import State
from app.models import ActionExecution, TaskExecution, WorkflowExecution, utcnow

from .actors import Actor, visible
from .errors import NotFound, Refused

_E: Any = WorkflowExecution.__table__.c
_T: Any = TaskExecution.__table__.c
_A: Any = ActionExecution.__table__.c

#: Executions, tasks and action executions in one tree.
LARGEST = 100_000
#: Ids in one query.
_MANY = 500
#: Past executions that an estimate looks at.
_SAMPLE = 20
_COUNTED = ("RUNNING", "SUCCESS", "ERROR", "IDLE", "PAUSED")


def report(
    session: Session,
    actor: Actor,
    execution_id: str,
    *,
    errors_only: bool = False,
    max_depth: int = -1,
    statistics_only: bool = False,
) -> dict[str, Any]:
    """Counts of the tasks below an execution, and the tree itself unless *statistics_only*."""
    root = _one(session, actor, execution_id, _HEAD)
    tree = _Tree(session, errors_only=errors_only, max_depth=max_depth)
    tree.read([root])
    counts = dict.fromkeys(_COUNTED, 0)
    for tasks in tree.tasks.values():
        for task in tasks:
            if task.state in counts:
                counts[task.state] += 1
    statistics = {
        "total_tasks_count": sum(counts.values()),
        "running_tasks_count": counts["RUNNING"],
        "success_tasks_count": counts["SUCCESS"],
        "error_tasks_count": counts["ERROR"],
        "idle_tasks_count": counts["IDLE"],
        "paused_tasks_count": counts["PAUSED"],
        "estimated_time": _estimate(session, root),
    }
    if statistics_only:
        return {"statistics": statistics}
    tree.read_actions()
    return {"statistics": statistics, "root_workflow_execution": tree.entry(root, 0)}


def below_execution(
    session: Session,
    actor: Actor,
    execution_id: str,
    columns: Sequence[ColumnElement[Any]],
    *,
    errors_only: bool = False,
    max_depth: int = -1,
) -> list[Row[Any]]:
    """An execution and all below it, each before its children, with *columns*."""
    root = _one(session, actor, execution_id, [_E.id, *columns])
    tree = _Tree(session, errors_only=errors_only, max_depth=max_depth, columns=columns)
    tree.read([root])
    return tree.flat([root])


def below_task(
    session: Session,
    actor: Actor,
    task_id: str,
    columns: Sequence[ColumnElement[Any]],
    *,
    errors_only: bool = False,
    max_depth: int = -1,
) -> list[Row[Any]]:
    """The sub-workflow executions that a task started, and all below them."""
    task = session.execute(
        select(_T.id, _T.state).where(_T.id == task_id, visible(TaskExecution, actor))
    ).first()
    if task is None:
        raise NotFound(f"Task execution not found [id={task_id}]")
    if errors_only and task.state != State.ERROR:
        return []
    tree = _Tree(session, errors_only=errors_only, max_depth=max_depth, columns=columns)
    roots = tree.children([task.id]).get(task.id, [])
    tree.read(roots)
    return tree.flat(roots)


_HEAD = [
    _E.id,
    _E.workflow_name.label("name"),
    _E.created_at,
    _E.updated_at,
    _E.state,
    _E.state_info,
    _E.workflow_id,
]


def _one(
    session: Session, actor: Actor, execution_id: str, columns: Sequence[ColumnElement[Any]]
) -> Row[Any]:
    row = session.execute(
        select(*columns).where(_E.id == execution_id, visible(WorkflowExecution, actor))
    ).first()
    if row is None:
        raise NotFound(f"WorkflowExecution not found [id={execution_id}]")
    return row


class _Tree:
    """Executions with their tasks, read downwards."""

    def __init__(
        self,
        session: Session,
        *,
        errors_only: bool,
        max_depth: int,
        columns: Sequence[ColumnElement[Any]] | None = None,
    ) -> None:
        self.session = session
        self.errors_only = errors_only
        self.max_depth = max_depth
        self.columns = _HEAD if columns is None else columns
        #: A list of executions needs only the tasks that have some below them.
        self.all_tasks = columns is None
        self.tasks: dict[str, list[Row[Any]]] = {}
        self.executions: dict[str, list[Row[Any]]] = {}
        self.actions: dict[str, list[Row[Any]]] = {}
        self.nodes = 0

    def read(self, roots: Sequence[Row[Any]]) -> None:
        """Read all that is below *roots*, as deep as wanted."""
        level = list(roots)
        depth = 0
        while level and (self.all_tasks or self.max_depth < 0 or depth < self.max_depth):
            ids = [row.id for row in level]
            tasks = self._tasks(ids)
            self.tasks.update(tasks)
            parents = [
                task.id for found in tasks.values() for task in found if task.type == "WORKFLOW"
            ]
            children = self.children(parents)
            self.executions.update(children)
            level = [row for found in children.values() for row in found]
            if 0 <= self.max_depth <= depth:
                break
            depth += 1

    def children(self, task_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
        """The executions that each of the tasks started, in the order of their start."""
        query = select(_E.id, _E.task_execution_id.label("parent"), *self._others()).order_by(
            _E.created_at, _E.item_index, _E.id
        )
        return self._gather(query, _E.task_execution_id, task_ids)

    def _others(self) -> list[ColumnElement[Any]]:
        return [column for column in self.columns if column is not _E.id]

    def _tasks(self, execution_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
        query = select(
            _T.id,
            _T.workflow_execution_id.label("parent"),
            _T.name,
            _T.type,
            _T.created_at,
            _T.updated_at,
            _T.state,
            _T.state_info,
            _T.runtime_context,
        ).order_by(_T.created_at, _T.number)
        if self.errors_only:
            query = query.where(_T.state == State.ERROR)
        if not self.all_tasks:
            query = query.where(_T.type == "WORKFLOW")
        return self._gather(query, _T.workflow_execution_id, execution_ids)

    def read_actions(self) -> None:
        """Read the action executions of all tasks."""
        query = select(
            _A.accepted,
            _A.last_heartbeat,
            _A.id,
            _A.name,
            _A.created_at,
            _A.updated_at,
            _A.state,
            _A.state_info,
            _A.task_execution_id.label("parent"),
        ).order_by(_A.created_at, _A.item_index, _A.id)
        ids = [
            task.id for found in self.tasks.values() for task in found if task.type != "WORKFLOW"
        ]
        self.actions = self._gather(query, _A.task_execution_id, ids)

    def _gather(
        self, query: Any, column: ColumnElement[Any], ids: Sequence[str]
    ) -> dict[str, list[Row[Any]]]:
        found: dict[str, list[Row[Any]]] = defaultdict(list)
        for start in range(0, len(ids), _MANY):
            some = ids[start : start + _MANY]
            for row in self.session.execute(query.where(column.in_(some)).limit(LARGEST + 1)):
                found[row.parent].append(row)
                self.nodes += 1
            if self.nodes > LARGEST:
                raise Refused(
                    f"There are more than {LARGEST} executions, tasks and actions below it; "
                    "ask for less with max_depth, errors_only or statistics_only."
                )
        return found

    def flat(self, roots: Iterable[Row[Any]]) -> list[Row[Any]]:
        """*roots* and all executions below them, each before its children."""
        result: list[Row[Any]] = []
        open_rows = list(roots)[::-1]
        while open_rows:
            row = open_rows.pop()
            result.append(row)
            below = [
                child
                for task in self.tasks.get(row.id, ())
                for child in self.executions.get(task.id, ())
            ]
            open_rows.extend(reversed(below))
        return result

    def entry(self, execution: Row[Any], depth: int) -> dict[str, Any]:
        """An execution as the report shows it."""
        shown = _shown(execution)
        if execution.id in self.tasks or self.max_depth < 0 or depth <= self.max_depth:
            shown["task_executions"] = [
                self._task(task, depth) for task in self.tasks.get(execution.id, ())
            ]
        return shown

    def _task(self, task: Row[Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "action_executions": [
                {"accepted": action.accepted, "last_heartbeat": _sign_of_life(action)}
                | _shown(action)
                for action in self.actions.get(task.id, ())
            ],
            "workflow_executions": [
                self.entry(child, depth + 1) for child in self.executions.get(task.id, ())
            ],
        }
        retried = (task.runtime_context or {}).get("retry_task_policy")
        if retried:
            shown["retry_count"] = retried.get("retry_no", 0)
        return shown | _shown(task)


def _sign_of_life(action: Row[Any]) -> Any:
    """When an action was last heard of: its life is watched elsewhere than in its row."""
    return action.last_heartbeat or action.updated_at or action.created_at


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "state": row.state,
        "state_info": row.state_info,
    }


def _estimate(session: Session, execution: Row[Any]) -> int:
    """Seconds until a running execution is expected to end, by what others of its workflow took.

    -1 when there are no others, 0 when it does not run.
    """
    if execution.state != State.RUNNING:
        return 0
    past = (
        select(_E.created_at, _E.updated_at)
        .where(_E.workflow_id == execution.workflow_id, _E.state == State.SUCCESS)
        .limit(_SAMPLE)
    )
    took = [
        (row.updated_at - row.created_at).total_seconds()
        for row in session.execute(past)
        if row.updated_at is not None
    ]
    if not took:
        return -1
    elapsed = (utcnow() - execution.created_at).total_seconds()
    return max(1, int(sum(took) / len(took) - elapsed))


__all__ = ["below_execution", "below_task", "report"]
