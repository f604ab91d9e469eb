"""Cron triggers."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.models import CronTrigger as CronTriggerRow
from app.services import cron_triggers, definitions
from app.services.actors import require
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, Flag, Integer, JsonString, Text, Texts
from .lists import FilterJson, FilterText, FilterUuid, ListView, PageQuery, collection

blp = Blueprint(
    "cron_triggers", __name__, url_prefix="/v2", description="Workflows started by the clock"
)


class CronTrigger(Schema):
    """Starts a workflow by the clock."""

    id = Text()
    name = Text()
    workflow_name = Text()
    workflow_id = Text()
    workflow_input = JsonString()
    workflow_params = JsonString()
    project_id = Text()
    scope = Choice(definitions.SCOPES)
    pattern = Text("Five fields, or six with seconds last; in UTC.")
    remaining_executions = Integer("Null for no end.")
    first_execution_time = DateTime()
    next_execution_time = DateTime()
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class NewCronTrigger(Schema):
    """What to start, and when."""

    id = Attribute()
    name = Text(length=200, required=True)
    workflow_name = Text("Name of the workflow, unless its id is given.")
    workflow_id = Text()
    workflow_input = JsonString()
    workflow_params = JsonString("Options of the executions.")
    project_id = Text(read_only=True)
    scope = Choice(definitions.SCOPES, "public is for administrators.")
    pattern = Text("Five fields, or six with seconds last; in UTC.", length=100)
    remaining_executions = Integer("How often; null for no end.", minimum=1)
    first_execution_time = Text("YYYY-MM-DD HH:MM, in UTC.")
    next_execution_time = Attribute()
    created_at = Attribute()
    updated_at = Attribute()


class ListQuery(PageQuery):
    """Which triggers, and what of them."""

    name = FilterText()
    workflow_name = FilterText()
    workflow_id = FilterUuid()
    workflow_input = FilterJson()
    workflow_params = FilterJson()
    scope = FilterText()
    pattern = FilterText()
    remaining_executions = FilterText()
    first_execution_time = FilterText()
    next_execution_time = FilterText()
    created_at = FilterText()
    updated_at = FilterText()
    project_id = FilterText()
    all_projects = Flag("Those of all projects; for administrators.")


class GetQuery(Schema):
    """What to show."""

    fields = Texts("Attributes to show; the id is always shown.")


LIST = ListView(
    name="cron_triggers",
    schema=CronTrigger,
    source=Listing(model=CronTriggerRow, missing="Cron trigger not found [identifier={}]"),
    shown=tuple(CronTrigger.attributes()),
    flags=("all_projects",),
)
CREATED = tuple(key for key in CronTrigger.attributes() if key != "updated_at")


@blp.route("/cron_triggers")
class CronTriggers(MethodView):
    @blp.operation(
        policy="cron_triggers:list",
        query=ListQuery,
        returns=(200, collection("cron_triggers", CronTrigger)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List cron triggers."""
        if call.query.get("all_projects"):
            require(call.actor, "cron_triggers:list:all_projects")
        return LIST.respond(call)

    @blp.operation(
        policy="cron_triggers:create",
        body=("cron_trigger", NewCronTrigger),
        returns=(201, CronTrigger),
        errors=[404],
    )
    def post(self, call: Call) -> Any:
        """Create a cron trigger."""
        row = cron_triggers.create(call.session, call.actor, call.body)
        return CronTrigger.show(row, CREATED)


@blp.route("/cron_triggers/<identifier>")
class CronTriggerOne(MethodView):
    @blp.operation(
        policy="cron_triggers:get", query=GetQuery, returns=(200, CronTrigger), errors=[404]
    )
    def get(self, call: Call, identifier: str) -> Any:
        """Show a cron trigger, by id or name."""
        row = cron_triggers.get(call.session, call.actor, identifier)
        shown = CronTrigger.show(row, CronTrigger.attributes())
        fields = call.query.get("fields")
        if fields:
            return {key: value for key, value in shown.items() if key == "id" or key in fields}
        return shown

    @blp.operation(policy="cron_triggers:delete", returns=(204, None), errors=[404])
    def delete(self, call: Call, identifier: str) -> Any:
        """Delete a cron trigger, by id or name."""
        cron_triggers.delete(call.session, call.actor, identifier)
