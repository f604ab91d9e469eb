"""Tasks of executions: shown, run again, skipped."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.core.states import State
from app.models import TaskExecution
from app.services import executions, reports, tasks
from app.services.errors import Refused
from app.services.listing import Filter, Listing

from . import action_executions as actions
from . import executions as runs
from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, DateTime, Flag, JsonString, Text, Texts, as_uuid
from .lists import (
    FilterFlag,
    FilterJson,
    FilterTags,
    FilterText,
    FilterUuid,
    ListView,
    PageQuery,
    Unfiltered,
    collection,
)

blp = Blueprint("tasks", __name__, url_prefix="/v2", description="Steps of executions")


class JsonResult(JsonString):
    """Any JSON value, shown as a string that holds JSON."""

    def show(self, value: Any) -> str | None:
        return "null" if value is None else super().show(value)


class Task(Schema):
    """A step of an execution."""

    id = Text()
    name = Text()
    type = Text("ACTION or WORKFLOW.")
    workflow_name = Text()
    workflow_namespace = Text()
    workflow_id = Text()
    workflow_execution_id = Text()
    tags = Texts()
    state = Text("IDLE, WAITING, RUNNING, DELAYED, PAUSED, SUCCESS, ERROR, CANCELLED or SKIPPED.")
    state_info = Text("Why it is in that state.")
    project_id = Text()
    runtime_context = JsonString("What triggered it, counts of items, retries.")
    result = JsonResult()
    published = JsonString()
    published_global = JsonString("What it published for all branches; absent when nothing.")
    processed = Flag()
    created_at = DateTime()
    updated_at = DateTime()
    started_at = DateTime()
    finished_at = DateTime("Null while it is not finished.")
    reset = Flag("Never shown.")
    env = JsonString("Never shown.")


class TaskUpdate(Schema):
    """Whether to run a failed task again, or to skip it."""

    id = Text()
    name = Text("Must be the name of the task, if given.")
    type = Text()
    workflow_name = Text("Must be the name of its workflow, if given.")
    workflow_namespace = Text()
    workflow_id = Text()
    workflow_execution_id = Text()
    tags = Attribute()
    state = Text("RUNNING to run it again, SKIPPED to go on without it.")
    state_info = Text()
    project_id = Text(read_only=True)
    runtime_context = JsonString()
    result = Text()
    published = JsonString()
    published_global = JsonString()
    processed = Flag()
    created_at = Attribute()
    updated_at = Attribute()
    started_at = Attribute()
    finished_at = Attribute()
    reset = Flag("Whether all items of with-items run again, or only the failed ones.")
    env = JsonString("Values to lay on the environment of the execution.")


class ListQuery(PageQuery):
    """Which tasks, and what of them."""

    name = FilterText()
    workflow_name = FilterText()
    workflow_id = FilterUuid()
    workflow_execution_id = FilterUuid()
    tags = FilterTags()
    state = FilterText()
    state_info = FilterText()
    result = Unfiltered()
    published = FilterJson()
    processed = FilterFlag()
    created_at = FilterText()
    updated_at = FilterText()
    reset = Unfiltered()
    env = Unfiltered()


_NEVER = frozenset({"result", "reset", "env"})
_STORED = tuple(key for key in Task.attributes() if key not in _NEVER)
LIST = ListView(
    name="tasks",
    schema=Task,
    source=Listing(model=TaskExecution, missing="Task execution not found [id={}]"),
    shown=tuple(key for key in _STORED if key != "published_global"),
    without=_NEVER,
)
_SHOWN = tuple(key for key in Task.attributes() if key not in ("reset", "env"))
_T: Any = TaskExecution.__table__.c


def full(call: Call, row: TaskExecution) -> dict[str, Any]:
    """A task with its result."""
    row_result = tasks.result(call.session, row)
    shown: dict[str, Any] = {}
    for key, attribute in Task.attributes().items():
        if key == "result":
            shown[key] = attribute.show(row_result)
        elif key == "published_global":
            if row.published_global:
                shown[key] = attribute.show(row.published_global)
        elif key in _SHOWN:
            shown[key] = attribute.show(getattr(row, key))
    return shown


@blp.route("/tasks")
class Tasks(MethodView):
    @blp.operation(
        policy="tasks:list", query=ListQuery, returns=(200, collection("tasks", Task)), errors=[404]
    )
    def get(self, call: Call) -> Any:
        """List tasks."""
        within = call.query.get("workflow_execution_id")
        executions.await_start(call.platform.database, within.value if within else None)
        return LIST.respond(call)


class GetQuery(Schema):
    """What to show."""

    fields = Texts("Attributes to show; the id is always shown.")


@blp.route("/tasks/<id>")
class TaskOne(MethodView):
    @blp.operation(policy="tasks:get", query=GetQuery, returns=(200, Task), errors=[404])
    def get(self, call: Call, id: str) -> Any:
        """Show a task with its result."""
        shown = full(call, tasks.get(call.session, call.actor, id))
        fields = call.query.get("fields")
        if not fields:
            return shown
        for each in fields:
            if each not in Task.attributes():
                raise Refused(f"Field '{each}' does not exist.")
        return {key: value for key, value in shown.items() if key == "id" or key in fields}

    @blp.operation(
        policy="tasks:update", body=("task", TaskUpdate), returns=(200, Task), errors=[404]
    )
    def put(self, call: Call, id: str) -> Any:
        """Run a failed task again, or skip it."""
        session, platform, actor, body = call.session, call.platform, call.actor, call.body
        row = tasks.get(session, actor, id)
        if body.get("name") and body["name"] != row.name:
            raise Refused("Task name does not match.")
        if body.get("workflow_name") and body["workflow_name"] != row.workflow_name:
            raise Refused("Workflow name does not match.")
        state, env = body.get("state"), body.get("env")
        if state not in (State.RUNNING, State.SKIPPED):
            raise Refused(
                "Invalid task state. Only updating task to RUNNING or SKIPPED is supported."
            )
        if row.state != State.ERROR:
            raise Refused(
                "The current task execution must be in ERROR for rerun. "
                "Only updating task to rerun is supported."
            )
        if state == State.SKIPPED:
            row = tasks.skip(session, platform, actor, id, env=env)
        else:
            if "reset" not in body:
                raise Refused("Reset field is mandatory to rerun task.")
            row = tasks.rerun(session, platform, actor, id, reset=bool(body["reset"]), env=env)
        return full(call, row)


@blp.route("/tasks/<task_execution_id>/action_executions")
class ActionExecutions(MethodView):
    @blp.operation(
        policy="action_executions:list",
        query=actions.ListQuery,
        returns=(200, collection("action_executions", actions.ActionExecution)),
        errors=[404],
    )
    def get(self, call: Call, task_execution_id: str) -> Any:
        """List the action executions of a task."""
        parent = as_uuid("task_execution_id", task_execution_id)
        return actions.listed(call, Filter(name="task_execution_id", value=parent))


@blp.route("/tasks/<task_execution_id>/action_executions/<action_ex_id>")
class ActionExecutionOne(MethodView):
    @blp.operation(
        policy="action_executions:get", returns=(200, actions.ActionExecution), errors=[404]
    )
    def get(self, call: Call, task_execution_id: str, action_ex_id: str) -> Any:
        """Show an action execution."""
        return actions.one(call, action_ex_id)


@blp.route("/tasks/<task_execution_id>/workflow_executions")
class WorkflowExecutions(MethodView):
    @blp.operation(
        policy="executions:list",
        query=runs.ListQuery,
        returns=(200, collection("executions", runs.Execution)),
        errors=[404],
    )
    def get(self, call: Call, task_execution_id: str) -> Any:
        """List the sub-workflow executions that a task started."""
        parent = as_uuid("task_execution_id", task_execution_id)
        return runs.listed(call, Filter(name="task_execution_id", value=parent), shown=runs.SLIM)


@blp.route("/tasks/<id>/executions")
class Below(MethodView):
    @blp.operation(
        policy="executions:get", query=runs.BelowQuery, returns=(200, runs.Executions), errors=[404]
    )
    def get(self, call: Call, id: str) -> Any:
        """List the sub-workflow executions that a task started, and all below them."""
        keys = runs.below_keys(call)
        rows = reports.below_task(
            call.session, call.actor, as_uuid("id", id), runs.columns(keys), **runs.depth(call)
        )
        return {"executions": [runs.Execution.show(row, keys) for row in rows]}


@blp.route("/executions/<id>/tasks")
class TasksOfExecution(MethodView):
    @blp.operation(
        policy="tasks:list", query=ListQuery, returns=(200, collection("tasks", Task)), errors=[404]
    )
    def get(self, call: Call, id: str) -> Any:
        """List the tasks of an execution."""
        execution_id = as_uuid("id", id)
        executions.await_start(call.platform.database, execution_id)
        runs.check(call, execution_id)
        return LIST.respond(call, parent=Filter(name="workflow_execution_id", value=id))
