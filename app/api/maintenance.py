"""Pausing the whole installation."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.services import maintenance

from .blueprint import Blueprint, Call, Schema
from .fields import Choice, Text

blp = Blueprint("maintenance", __name__, description="Pause and resume the whole installation")


class Status(Schema):
    """The state of the installation."""

    status = Choice(maintenance.STATUSES)


class NewStatus(Schema):
    """What the installation should be."""

    status = Text("PAUSED or RUNNING.", required=True)


@blp.route("/maintenance")
class Maintenance(MethodView):
    @blp.operation(policy="maintenance:get", returns=(200, Status), session=False)
    def get(self, call: Call) -> Any:
        """Show whether the installation is running, being paused, or paused."""
        return {"status": maintenance.advance(call.platform)}

    @blp.operation(
        policy="maintenance:update",
        returns=(200, Status),
        body=("new_maintenance_status", NewStatus),
        while_paused=lambda call, status: True,
    )
    def put(self, call: Call) -> Any:
        """Pause the installation, or resume it."""
        wanted = call.body.get("status")
        return {"status": maintenance.change(call.session, call.actor, wanted=wanted)}
