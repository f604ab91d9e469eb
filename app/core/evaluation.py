"""What expressions of a workflow see: the layers of data, and the functions that look around.

Which layer is stronger than which is told in ``docs/language.md``; the order is Mistral's, but
for the item variables of with-items, which here win over published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from . import expressions
from .data_flow import Context
from .execution import Task
from .expressions import Functions, View
from .working_copy import WorkingCopy

#: Uppermost layer: what is true of this evaluation only, e.g. the variables of an item.
Extra = Mapping[str, Any] | None


@lru_cache(maxsize=1024)
def text_of_time(time: datetime | None) -> str | None:
    """A time, in UTC, as expressions and the API show it."""
    # Several times faster than strftime, and there are many. The zone is left out.
    return time.isoformat(" ")[:19] if time else None


def workflow_layers(run: WorkingCopy) -> tuple[Mapping[str, Any], ...]:
    """The layers below every branch: workflow context (vars, globals), then input."""
    return (workflow_context(run), run.lookup.input())


def workflow_context(run: WorkingCopy) -> Mapping[str, Any]:
    context = run.context(run.execution.context_id)
    variables = context.variables if context else {}
    return {"__execution": {"id": run.execution.id}, **variables}


def task_view(run: WorkingCopy, task: Task, *, context_id: str | None, extra: Extra = None) -> View:
    """What a task's input, policies and names see."""
    return View(
        {"__task_execution": {"id": task.id, "name": task.name}},
        *((extra,) if extra else ()),
        {"__env": run.environment()},
        _variables(run.context(context_id)),
        *workflow_layers(run),
    )


def outbound_view(run: WorkingCopy, task: Task, *, context_id: str | None) -> View:
    """What publish, guards and arguments of engine commands see."""
    return View(
        {"__task_execution": {"id": task.id, "name": task.name}},
        _variables(run.context(context_id)),
        {"__env": run.environment()},
        *workflow_layers(run),
    )


def final_view(run: WorkingCopy, final: Mapping[str, Any]) -> View:
    """What the output of the workflow sees."""
    return View(final, {"__env": run.environment()}, *workflow_layers(run))


def _variables(context: Context | None) -> Mapping[str, Any]:
    return context.variables if context else {}


def functions(run: WorkingCopy, task: Task | None = None) -> Functions:
    """The functions of an evaluation, looking at *run* and standing in *task*."""

    def view_of(name: str | None = None) -> Mapping[str, Any] | None:
        if name is None or (task is not None and name == task.name):
            found = task
        else:
            found = run.latest((name,)).get(name)
        return user_view(run, found) if found is not None else None

    def global_variable(name: str) -> Any:
        return workflow_context(run).get(name)

    return Functions(
        env=run.environment(),
        execution=lambda: execution_view(run),
        executions=run.lookup.executions,
        task=view_of,
        tasks=lambda *args, **criteria: _task_views(run, *args, **criteria),
        workflow_context=global_variable,
        new_uuid=run.new_id,
        now=run.now,
    )


def _task_views(
    run: WorkingCopy,
    workflow_execution_id: str | None = None,
    recursive: bool = False,
    state: str | None = None,
    flat: bool = False,
) -> list[Mapping[str, Any]]:
    """What ``tasks()`` gives: tasks of this execution as they are now, others as stored."""
    own = run.execution.id
    views = list(run.lookup.task_views(workflow_execution_id, recursive, state, flat))
    if workflow_execution_id not in (None, own):
        return views
    stored = [view for view in views if view["workflow_execution_id"] != own]
    mine = [
        user_view(run, task) for task in run.all_tasks() if state is None or task.state == state
    ]
    if flat:
        shown = {view["id"] for view in views}
        mine = [v for v in mine if v["type"] == "ACTION" or v["id"] in shown]
    return [*mine, *stored]


def evaluate(
    run: WorkingCopy, value: Any, view: Mapping[str, Any], task: Task | None = None
) -> Any:
    """*value* with all expressions in it evaluated; raises ExpressionError."""
    return expressions.evaluate_recursively(value, view, functions(run, task))


def execution_view(run: WorkingCopy) -> dict[str, Any]:
    """What ``execution()`` gives."""
    execution = run.execution
    return {
        "id": execution.id,
        "name": execution.name,
        "spec": dict(run.spec.raw),
        "input": dict(run.lookup.input()),
        "params": execution.params,
        "created_at": text_of_time(execution.created_at),
        "updated_at": text_of_time(execution.updated_at),
        "root_execution_id": execution.root_id,
    }


def user_view(run: WorkingCopy, task: Task) -> dict[str, Any]:
    """What ``task()`` gives."""
    return {
        "id": task.id,
        "name": task.name,
        "spec": dict(run.task_spec(task).raw),
        "state": str(task.state),
        "state_info": task.state_info,
        "result": result_of(run, task),
        "published": task.published,
        "type": task.type,
        "workflow_execution_id": run.execution.id,
        "created_at": text_of_time(task.created_at),
        "updated_at": text_of_time(task.updated_at),
    }


def result_of(run: WorkingCopy, task: Task) -> Any:
    """The result of a task: the accepted value, or for several (and with-items) their list."""
    with_items = bool(run.task_spec(task).with_items)
    accepted: list[tuple[int, Any]]
    if task.type == "WORKFLOW":
        children = run.children(task.id)
        accepted = [(child.index, child.output) for child in children if child.accepted]
    else:
        actions = run.actions(task.id)
        accepted = [(a.index, a.result) for a in actions if a.accepted and a.state.terminal]
    return collect([value for _, value in sorted(accepted, key=lambda pair: pair[0])], with_items)


def collect(values: Sequence[Any], with_items: bool) -> Any:
    """The result that accepted *values*, in order of their index, make together."""
    return values[0] if len(values) == 1 and not with_items else list(values)
