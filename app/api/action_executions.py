"""Action executions: shown, reported on, and actions run alone."""

from __future__ import annotations

from typing import Any, ClassVar

from flask.views import MethodView

from app.models import ActionExecution as ActionExecutionRow
from app.services import action_executions, executions, listing, maintenance
from app.services.errors import Refused
from app.services.listing import Filter, Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, DateTime, Flag, JsonString, Text, Texts
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

blp = Blueprint("action_executions", __name__, url_prefix="/v2", description="Runs of actions")


class Namespace(Text):
    """A namespace; the default one when there is none."""

    def show(self, value: str | None) -> str:
        return value or ""


class ActionExecution(Schema):
    """A run of an action."""

    id = Text("Null when the run was not stored.")
    workflow_name = Text()
    workflow_namespace = Namespace()
    task_name = Text("Never shown.")
    task_execution_id = Text("Null when the action was run alone.")
    state = Text("RUNNING, PAUSED, SUCCESS, ERROR or CANCELLED.")
    state_info = Text()
    tags = Texts("Always null.")
    name = Text()
    description = Text()
    project_id = Text()
    accepted = Flag("Whether the task takes the output as its result.")
    input = JsonString()
    output = JsonString("The result under the key result; null while it runs.")
    created_at = DateTime()
    updated_at = DateTime()
    params = JsonString("Never shown.")

    constants: ClassVar = {"tags": None}


class NewRun(Schema):
    """What to run. What is known but not settable is passed over."""

    id = Text()
    workflow_name = Text()
    workflow_namespace = Text("Where the name of the action is looked up.")
    task_name = Text()
    task_execution_id = Text()
    state = Text()
    state_info = Text()
    tags = Attribute()
    name = Text("The action.")
    description = Text()
    project_id = Text(read_only=True)
    accepted = Attribute()
    input = JsonString()
    output = JsonString()
    created_at = Attribute()
    updated_at = Attribute()
    params = JsonString(
        "run_sync: wait for the result; save_result: keep the run; timeout: seconds; target."
    )


class RunReport(NewRun):
    """How a run ended, or goes on."""

    state = Text("SUCCESS, ERROR, CANCELLED, PAUSED or RUNNING.")
    output = JsonString("The result.")


class ListQuery(PageQuery):
    """Which action executions, and what of them."""

    name = FilterText()
    tags = FilterTags()
    workflow_name = FilterText()
    task_name = Unfiltered()
    task_execution_id = FilterUuid()
    state = FilterText()
    state_info = FilterText()
    accepted = FilterFlag()
    input = FilterJson()
    output = FilterJson()
    params = Unfiltered()
    description = FilterText()
    created_at = FilterText()
    updated_at = FilterText()
    include_output = Flag("Show the output too.")


class GetQuery(Schema):
    """What to show."""

    fields = Texts("Attributes to show; the id is always shown.")


_NEVER = frozenset({"task_name", "params"})
SHOWN = tuple(key for key in ActionExecution.attributes() if key not in _NEVER)
LIST = ListView(
    name="action_executions",
    schema=ActionExecution,
    source=Listing(model=ActionExecutionRow, missing="ActionExecution not found [id={}]"),
    shown=tuple(key for key in SHOWN if key != "output"),
    without=_NEVER,
    flags=("include_output",),
)
_A: Any = ActionExecutionRow.__table__.c


def listed(call: Call, parent: Filter | None = None) -> dict[str, Any]:
    """A page of action executions: of all, or below *parent*."""
    extra = ("output",) if call.query.get("include_output") else ()
    return LIST.respond(call, parent=parent, extra=extra)


def one(call: Call, id: str) -> dict[str, Any]:
    """An action execution with its output."""
    columns = [_A[key] for key in SHOWN if key not in ActionExecution.constants]
    row = listing.one(call.session, call.actor, LIST.source, id, columns)
    return ActionExecution.show(row, SHOWN)


@blp.route("/action_executions")
class ActionExecutions(MethodView):
    @blp.operation(
        policy="action_executions:list",
        query=ListQuery,
        returns=(200, collection("action_executions", ActionExecution)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List action executions."""
        executions.await_start(call.platform.database)
        return listed(call)

    @blp.operation(
        policy="action_executions:create",
        body=("action_ex", NewRun),
        returns=(201, ActionExecution),
        session=False,
        errors=[404],
    )
    def post(self, call: Call) -> Any:
        """Run an action alone, whatever comes of it."""
        body = call.body
        if not body.get("name"):
            raise Refused("Please provide at least action name to run action.")
        row = action_executions.run(
            call.platform,
            call.actor,
            name=body["name"],
            input=body.get("input"),
            params=body.get("params"),
            description=body.get("description"),
            namespace=body.get("workflow_namespace") or "",
        )
        return ActionExecution.show(row, SHOWN)


@blp.route("/action_executions/<id>")
class ActionExecutionOne(MethodView):
    @blp.operation(
        policy="action_executions:get",
        query=GetQuery,
        returns=(200, ActionExecution),
        errors=[404],
    )
    def get(self, call: Call, id: str) -> Any:
        """Show an action execution."""
        shown = one(call, id)
        fields = call.query.get("fields")
        if fields:
            return {key: value for key, value in shown.items() if key == "id" or key in fields}
        return shown

    @blp.operation(
        policy="action_executions:update",
        body=("action_ex", RunReport),
        returns=(200, ActionExecution),
        errors=[404],
        while_paused=lambda call, status: status == maintenance.PAUSING,
    )
    def put(self, call: Call, id: str) -> Any:
        """Report how an asynchronous action ended, or that it pauses or goes on."""
        row = action_executions.update(
            call.session,
            call.platform,
            call.actor,
            id,
            state=call.body.get("state") or "Unset",
            # A success without output has an empty one; null is a result like any other.
            output=call.body.get("output", {}),
        )
        return ActionExecution.show(row, SHOWN)

    @blp.operation(policy="action_executions:delete", returns=(204, None), errors=[404])
    def delete(self, call: Call, id: str) -> Any:
        """Delete the completed run of an action that was run alone."""
        action_executions.delete(
            call.session,
            call.actor,
            id,
            allowed=call.platform.config.allow_action_execution_deletion,
        )
