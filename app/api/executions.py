"""Executions of workflows, and the trees below them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import marshmallow as ma
from flask.views import MethodView
from sqlalchemy import Text as SQLText
from sqlalchemy import and_, bindparam, exists, select, type_coerce

from app.core.data_flow import deep_merge
from app.core.states import State
from app.models import TaskExecution, WorkflowExecution
from app.services import executions, journal, listing, reports
from app.services.actors import require
from app.services.errors import Refused
from app.services.executions import Wanted
from app.services.listing import Filter, Listing
from app.services.starts import start

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, DateTime, Flag, Integer, JsonString, Object, Text, Texts, as_uuid
from .lists import (
    FilterJson,
    FilterTags,
    FilterText,
    FilterUuid,
    ListView,
    PageQuery,
    collection,
)

blp = Blueprint("executions", __name__, url_prefix="/v2", description="Runs of workflows")


class Execution(Schema):
    """A run of a workflow."""

    id = Text()
    workflow_id = Text()
    workflow_name = Text()
    workflow_namespace = Text()
    description = Text()
    tags = Texts()
    params = JsonString("Options of the run, and the namespace and environment.")
    task_execution_id = Text("The task that started it, of a sub-workflow.")
    root_execution_id = Text("The execution that all this is about; null for that one itself.")
    source_execution_id = Text("Never shown.")
    state = Text("IDLE, RUNNING, PAUSED, SUCCESS, ERROR or CANCELLED.")
    state_info = Text("Why it is in that state.")
    input = JsonString("The input with defaults.")
    output = JsonString()
    created_at = DateTime()
    updated_at = DateTime()
    project_id = Text()
    published_global = JsonString("What was published for all branches.")


class NewExecution(Schema):
    """What to run. What is known but not settable is passed over."""

    id = Text("An id of your own; asking again with the same one starts nothing.", length=36)
    workflow_id = Text("Id, or name, of the workflow.")
    workflow_name = Text("Name, or id, of the workflow.")
    workflow_namespace = Text()
    description = Text()
    tags = Attribute()
    params = JsonString("Options: env, notify, task_name, evaluate_env, read_only, ...")
    task_execution_id = Text()
    root_execution_id = Text()
    source_execution_id = Text("An execution that lends its workflow, input and params.")
    state = Text()
    state_info = Text()
    input = JsonString()
    output = JsonString()
    created_at = Attribute()
    updated_at = Attribute()
    project_id = Text(read_only=True)
    published_global = JsonString()


class ListQuery(PageQuery):
    """Which executions, and what of them."""

    workflow_name = FilterText()
    workflow_id = FilterUuid()
    description = FilterText()
    tags = FilterTags()
    params = FilterJson()
    task_execution_id = FilterUuid()
    root_execution_id = FilterUuid()
    state = FilterText()
    state_info = FilterText()
    input = FilterJson()
    output = FilterJson()
    created_at = FilterText()
    updated_at = FilterText()
    project_id = FilterText()
    all_projects = Flag("Those of all projects; for administrators.")
    nulls = Texts("Attributes that must be null.")
    include_output = Flag("Show the output too.")


class GetQuery(Schema):
    """What to show."""

    fields = Texts("Attributes to show; the id is always shown.")


class DeleteQuery(Schema):
    """How to delete."""

    force = Flag("Delete it although it is not finished.")


class BelowQuery(Schema):
    """How much of a tree to show."""

    errors_only = Flag("Only what is below tasks in ERROR.")
    max_depth = Integer("How deep; negative for all.")
    include_output = Flag("Show the output too.")


class ReportQuery(Schema):
    """How much of a report to show."""

    errors_only = Flag("Only tasks in ERROR.")
    max_depth = Integer("How deep; negative for all.")
    statistics_only = Flag("Counts only.")


class Executions(Schema):
    """Executions, each before those below it."""

    executions = ma.fields.List(ma.fields.Nested(Execution))


class Report(Schema):
    """How far an execution is."""

    statistics = Object("Counts of tasks by state, and the time it will still take.")
    root_workflow_execution = Object("The execution, its tasks, and all below them.")


_ALL = tuple(
    key for key in Execution.attributes() if key not in ("source_execution_id", "published_global")
)
LIST = ListView(
    name="executions",
    schema=Execution,
    source=Listing(model=WorkflowExecution, missing="WorkflowExecution not found [id={}]"),
    shown=tuple(key for key in _ALL if key != "output"),
    without=frozenset({"source_execution_id", "published_global"}),
    flags=("nulls", "all_projects", "include_output"),
)
#: What is shown where the large attributes are not.
SLIM = tuple(key for key in _ALL if key not in ("params", "input", "output"))

_E: Any = WorkflowExecution.__table__.c
_T: Any = TaskExecution.__table__.c
_STATES = "RUNNING, PAUSED, SUCCESS, ERROR, CANCELLED"


def columns(keys: Iterable[str]) -> list[Any]:
    """The columns behind attributes of executions."""
    return [_E[key] for key in keys]


@blp.route("/executions")
class ExecutionCollection(MethodView):
    @blp.operation(
        policy="executions:list",
        query=ListQuery,
        returns=(200, collection("executions", Execution)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List executions."""
        return listed(call)

    @blp.operation(
        policy="executions:create",
        body=("wf_ex", NewExecution),
        returns=(201, Execution),
        errors=[404],
        session=False,
        checks_maintenance=True,
    )
    def post(self, call: Call) -> Any:
        """Start a workflow."""
        body = call.body
        wanted = Wanted(
            workflow=body.get("workflow_id") or body.get("workflow_name"),
            namespace=body.get("workflow_namespace") or "",
            input=body.get("input"),
            params=body.get("params"),
            description=body.get("description", ""),
            id=body.get("id") or None,
            source_execution_id=body.get("source_execution_id"),
        )
        row = start(call.platform, call.actor, wanted)
        return Execution.show(row, _ALL)


@blp.route("/executions/<id>")
class ExecutionOne(MethodView):
    @blp.operation(policy="executions:get", query=GetQuery, returns=(200, Execution), errors=[404])
    def get(self, call: Call, id: str) -> Any:
        """Show an execution."""
        fields = call.query.get("fields")
        known = Execution.attributes()
        keys: Sequence[str] = _ALL
        if fields:
            for each in fields:
                if each not in known:
                    raise Refused(f"Field '{each}' does not exist.")
            keys = [key for key in _ALL if key == "id" or key in fields]
        asked = columns(keys)
        wants_published = not fields or "published_global" in fields
        if wants_published:
            # Few publish for all: one question for everybody else.
            asked.append(_HAS_PUBLISHED)
        row = listing.one(call.session, call.actor, LIST.source, id, asked)
        shown = Execution.show(row, keys)
        if wants_published:
            published = _published_global(call, id) if row.has_published else {}
            shown["published_global"] = JsonString().show(published)
        return shown

    @blp.operation(
        policy="executions:update",
        body=("wf_ex", NewExecution),
        returns=(200, Execution),
        errors=[404],
        while_paused=lambda call, status: call.body.get("state") == State.CANCELLED,
    )
    def put(self, call: Call, id: str) -> Any:
        """Pause, resume, stop or describe an execution, or change its environment."""
        session, platform, actor = call.session, call.platform, call.actor
        executions.get(session, actor, id)
        state, description = call.body.get("state"), call.body.get("description")
        env = _environment(call.body.get("params"))
        if not state and description is None and not env:
            raise Refused("The property state, description, or env is not provided for update.")
        if description is not None and state:
            raise Refused("The property description must be updated separately from state.")
        if env and state and state != State.RUNNING:
            raise Refused(
                "The property env can only be updated when workflow execution "
                "is not running or on resume from pause."
            )
        if description is not None:
            row = executions.update_description(session, actor, id, description)
            keys: Sequence[str] = SLIM
        if env and not state:
            row = executions.update_env(session, platform, actor, id, env)
            keys = [key for key in _ALL if key not in ("input", "output")]
        if state:
            keys = _ALL
            if state == State.PAUSED:
                row = executions.pause(session, platform, actor, id)
            elif state == State.RUNNING:
                row = executions.resume(session, platform, actor, id, env=env)
            elif state in (State.SUCCESS, State.ERROR, State.CANCELLED):
                message = call.body.get("state_info")
                row = executions.stop(session, platform, actor, id, state=state, message=message)
            else:
                raise Refused(
                    # The quote that is not closed is Mistral's.
                    f"Cannot change state to {state}. Allowed states are: '{_STATES}"
                )
        return Execution.show(row, keys)

    @blp.operation(policy="executions:delete", query=DeleteQuery, returns=(204, None), errors=[404])
    def delete(self, call: Call, id: str) -> Any:
        """Delete an execution and all below it."""
        executions.delete(
            call.session, call.platform, call.actor, id, force=bool(call.query.get("force"))
        )


@blp.route("/executions/<id>/executions")
class Below(MethodView):
    @blp.operation(
        policy="executions:get", query=BelowQuery, returns=(200, Executions), errors=[404]
    )
    def get(self, call: Call, id: str) -> Any:
        """List an execution and all below it."""
        keys = below_keys(call)
        rows = reports.below_execution(
            call.session, call.actor, as_uuid("id", id), columns(keys), **depth(call)
        )
        return {"executions": [Execution.show(row, keys) for row in rows]}


@blp.route("/executions/<workflow_execution_id>/report")
class ReportOne(MethodView):
    @blp.operation(policy="executions:get", query=ReportQuery, returns=(200, Report), errors=[404])
    def get(self, call: Call, workflow_execution_id: str) -> Any:
        """Tell how far an execution is, with all tasks and actions below it."""
        execution_id = as_uuid("workflow_execution_id", workflow_execution_id)
        executions.await_start(call.platform.database, execution_id)
        found = reports.report(
            call.session,
            call.actor,
            execution_id,
            statistics_only=bool(call.query.get("statistics_only")),
            **depth(call),
        )
        _stamp(found.get("root_workflow_execution", {}))
        return found


class Journal(Schema):
    """A recording of an execution: what deciding on it again needs."""

    format = Integer("The version of this form.")
    execution = Object("What the execution was created with.")
    workflow = Object("The workflow.")
    input = Object("The input with defaults.")
    environment = Object("The environment of the root execution.")
    variables = Object("What vars gave.")
    limits = Object("The limits of the installation.")
    transactions = ma.fields.List(ma.fields.Dict())
    actions = Object("The actions that were asked for, by name.")
    workflows = Object("The sub-workflows that were asked for, by name.")


@blp.route("/executions/<id>/journal")
class JournalOfExecution(MethodView):
    @blp.operation(policy="executions:get", returns=(200, Journal), errors=[404])
    def get(self, call: Call, id: str) -> Any:
        """Export a recording of an execution, to be replayed elsewhere."""
        row = executions.get(call.session, call.actor, id)
        platform = call.platform
        return journal.export(call.session, platform.registry, row, platform.limits)


def listed(
    call: Call, parent: Filter | None = None, *, shown: Sequence[str] | None = None
) -> dict[str, Any]:
    """A page of executions: of all, or below *parent*."""
    if call.query.get("all_projects") or "project_id" in call.query:
        require(call.actor, "executions:list:all_projects")
    view = LIST if shown is None else replace(LIST, shown=shown)
    return view.respond(
        call, parent=parent, extra=("output",) if call.query.get("include_output") else ()
    )


def check(call: Call, id: str) -> None:
    """Raise NotFound unless there is an execution of that id."""
    listing.one(call.session, call.actor, LIST.source, id, [_E.id])


def below_keys(call: Call) -> Sequence[str]:
    """What lists of sub-executions show."""
    return _ALL if call.query.get("include_output") else LIST.shown


def depth(call: Call) -> dict[str, Any]:
    """How much of a tree is wanted."""
    return {
        "errors_only": bool(call.query.get("errors_only")),
        "max_depth": call.query.get("max_depth", -1),
    }


_STAMPS = ("created_at", "updated_at", "last_heartbeat")


def _stamp(tree: dict[str, Any]) -> None:
    """Show the times in a report as everywhere."""
    show = DateTime().show
    open_nodes = [tree]
    while open_nodes:
        node = open_nodes.pop()
        for key, value in node.items():
            if isinstance(value, list):
                open_nodes.extend(value)
            elif key in _STAMPS:
                node[key] = show(value)


def _environment(params: Any) -> dict[str, Any]:
    """The environment that the params of a request hold."""
    env = (params or {}).get("env") or {}
    if isinstance(env, str):
        env = JsonString().read_text("env", env)
    if not isinstance(env, dict):
        raise Refused(f"Expected env to be an object, got {env!r}")
    return env


_PUBLISHES = and_(
    _T.published_global.is_not(None), type_coerce(_T.published_global, SQLText) != "{}"
)
_PUBLISHED = (
    select(_T.published_global)
    .where(_T.workflow_execution_id == bindparam("id"), _PUBLISHES)
    .order_by(_T.finished_at, _T.number)
)
_HAS_PUBLISHED: Any = (
    exists().where(_T.workflow_execution_id == _E.id, _PUBLISHES).label("has_published")
)


def _published_global(call: Call, id: str) -> dict[str, Any]:
    """What the tasks of an execution have published for all branches, later ones last."""
    result: dict[str, Any] = {}
    for (published,) in call.session.execute(_PUBLISHED, {"id": id}):
        result = deep_merge(result, published)
    return result
