"""Events that were not delivered to their publishers yet, and those that were given up."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from app.services import notifications
from app.services.errors import NotFound, Refused

from .blueprint import Blueprint, Call, Schema
from .events import Position
from .fields import Choice, DateTime, Integer, Object, Text

blp = Blueprint(
    "notifications", __name__, url_prefix="/v2", description="Events on their way to publishers"
)

STATES = (notifications.PENDING, notifications.DEAD)
#: Attributes of publishers whose values are nobody's business.
_SECRET = ("headers", "secret", "password", "token")


class Notification(Schema):
    """An event for one publisher that has not taken it."""

    id = Integer()
    workflow_execution_id = Text()
    number = Integer("The number of the event in its execution.")
    event = Text("WORKFLOW_LAUNCHED, TASK_SUCCEEDED, ...")
    data = Object("What the publisher is told.")
    publisher = Object("Type and address; what may be secret in it is hidden.")
    state = Choice(STATES, "Whether it is still tried, or was given up.")
    attempts = Integer("How often it was tried.")
    last_error = Text("Why it was not taken last time.")
    next_attempt_at = DateTime()
    created_at = DateTime()


class Notifications(Schema):
    """Events that publishers have not taken, the oldest first."""

    notifications = ma.fields.List(ma.fields.Nested(Notification), required=True)


class Resent(Schema):
    """How many dead letters are tried again."""

    resent = Integer()


class ListQuery(Schema):
    """Which events."""

    state = Choice(STATES)
    workflow_execution_id = Text()
    after = Position("Only those with a greater id.")
    limit = Integer("Most of a page; 100 if it is not given.")


class ResendQuery(Schema):
    """Which dead letters."""

    workflow_execution_id = Text("Only those of this execution.")


_SHOWN = tuple(Notification.attributes())


def _show(row: Any) -> dict[str, Any]:
    shown = Notification.show(row, _SHOWN)
    publisher = shown["publisher"]
    shown["publisher"] = {
        key: "***" if key in _SECRET and value else value for key, value in publisher.items()
    }
    return shown


def _id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound(f"Notification not found [id={text}]")
    return int(text)


@blp.route("/notifications")
class NotificationCollection(MethodView):
    @blp.operation(policy="notifications:list", query=ListQuery, returns=(200, Notifications))
    def get(self, call: Call) -> Any:
        """List events that publishers have not taken."""
        limit = call.query.get("limit", 100)
        if limit <= 0:
            raise Refused("Limit must be positive.")
        rows = notifications.find(
            call.session,
            call.actor,
            state=call.query.get("state"),
            execution_id=call.query.get("workflow_execution_id"),
            after=call.query.get("after", 0),
            limit=min(limit, call.platform.config.max_limit),
        )
        return {"notifications": [_show(row) for row in rows]}


@blp.route("/notifications/resend")
class ResendAll(MethodView):
    @blp.operation(policy="notifications:update", query=ResendQuery, returns=(200, Resent))
    def post(self, call: Call) -> Any:
        """Try all dead letters again, or those of one execution."""
        count = notifications.resend_all(
            call.session, call.actor, execution_id=call.query.get("workflow_execution_id")
        )
        return {"resent": count}


@blp.route("/notifications/<id>")
class NotificationOne(MethodView):
    @blp.operation(policy="notifications:get", returns=(200, Notification), errors=[404])
    def get(self, call: Call, id: str) -> Any:
        """Show an event that a publisher has not taken."""
        return _show(notifications.get(call.session, call.actor, id=_id(id)))

    @blp.operation(policy="notifications:delete", returns=(204, None), errors=[404])
    def delete(self, call: Call, id: str) -> Any:
        """Give up an event: it is never delivered."""
        notifications.discard(call.session, call.actor, id=_id(id))


@blp.route("/notifications/<id>/resend")
class ResendOne(MethodView):
    @blp.operation(policy="notifications:update", returns=(200, Notification), errors=[404])
    def post(self, call: Call, id: str) -> Any:
        """Try a dead letter again."""
        return _show(notifications.resend(call.session, call.actor, id=_id(id)))
