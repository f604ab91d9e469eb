"""Event triggers."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.models import EventTrigger as EventTriggerRow
from app.services import definitions, event_triggers
from app.services.actors import require
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, Flag, JsonString, Text, Uuid, as_uuid
from .lists import FilterText, ListView, PageQuery, Unfiltered, collection

blp = Blueprint(
    "event_triggers", __name__, url_prefix="/v2", description="Workflows started by messages"
)


class EventTrigger(Schema):
    """Starts a workflow when a message arrives."""

    id = Text()
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")
    project_id = Text()
    name = Text()
    workflow_id = Text()
    workflow_input = JsonString()
    workflow_params = JsonString()
    exchange = Text()
    topic = Text()
    event = Text()
    scope = Choice(definitions.SCOPES)


class WrittenEventTrigger(Schema):
    """What to start, and at which messages."""

    id = Attribute(read_only=True)
    created_at = Attribute(read_only=True)
    updated_at = Attribute(read_only=True)
    project_id = Text(read_only=True)
    name = Text(length=200)
    workflow_id = Uuid()
    workflow_input = JsonString()
    workflow_params = JsonString("Options of the executions.")
    exchange = Text(length=80)
    topic = Text(length=80)
    event = Text(length=80)
    scope = Choice(definitions.SCOPES, "public is for administrators.")


class ListQuery(PageQuery):
    """What of the triggers. Mistral fails on every filter, so none is accepted here."""

    name = Unfiltered()
    workflow_id = Unfiltered()
    workflow_input = Unfiltered()
    workflow_params = Unfiltered()
    exchange = Unfiltered()
    topic = Unfiltered()
    event = Unfiltered()
    scope = Unfiltered()
    created_at = Unfiltered()
    updated_at = Unfiltered()
    project_id = FilterText()
    all_projects = Flag("Those of all projects; for administrators.")


LIST = ListView(
    name="event_triggers",
    schema=EventTrigger,
    source=Listing(model=EventTriggerRow, missing="Event trigger not found [id={}]."),
    shown=tuple(EventTrigger.attributes()),
    flags=("all_projects",),
)


@blp.route("/event_triggers")
class EventTriggers(MethodView):
    @blp.operation(
        policy="event_triggers:list",
        query=ListQuery,
        returns=(200, collection("event_triggers", EventTrigger)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List event triggers."""
        if call.query.get("all_projects"):
            require(call.actor, "event_triggers:list:all_projects")
        return LIST.respond(call)

    @blp.operation(
        policy="event_triggers:create",
        body=("event_trigger", WrittenEventTrigger),
        returns=(201, EventTrigger),
        errors=[404],
    )
    def post(self, call: Call) -> Any:
        """Create an event trigger."""
        row = event_triggers.create(call.session, call.actor, call.body)
        return EventTrigger.show(row, EventTrigger.attributes())


@blp.route("/event_triggers/<id>")
class EventTriggerOne(MethodView):
    @blp.operation(policy="event_triggers:get", returns=(200, EventTrigger), errors=[404])
    def get(self, call: Call, id: str) -> Any:
        """Show an event trigger."""
        row = event_triggers.get(call.session, call.actor, as_uuid("id", id))
        return EventTrigger.show(row, EventTrigger.attributes())

    @blp.operation(
        policy="event_triggers:update",
        body=("event_trigger", WrittenEventTrigger),
        returns=(200, EventTrigger),
        errors=[404],
    )
    def put(self, call: Call, id: str) -> Any:
        """Change an event trigger, but not where its messages come from."""
        row = event_triggers.update(call.session, call.actor, as_uuid("id", id), call.body)
        return EventTrigger.show(row, EventTrigger.attributes())

    @blp.operation(policy="event_triggers:delete", returns=(204, None), errors=[404])
    def delete(self, call: Call, id: str) -> Any:
        """Delete an event trigger."""
        event_triggers.delete(call.session, call.actor, as_uuid("id", id))
