"""Members: private workflows shared with other projects."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView

from app.services import members
from app.services.errors import Refused

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, Text, as_uuid

blp = Blueprint("members", __name__, url_prefix="/v2", description="Workflows shared with projects")


class Member(Schema):
    """A private workflow shared with another project."""

    id = Text()
    resource_id = Text("The workflow.")
    resource_type = Text("workflow")
    project_id = Text("The owner.")
    member_id = Text("The project it is shared with.")
    status = Choice(members.STATUSES)
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class WrittenMember(Schema):
    """With whom to share, or whether to accept."""

    id = Attribute()
    resource_id = Attribute()
    resource_type = Attribute()
    project_id = Attribute()
    member_id = Text("The project to share with.", length=80)
    status = Choice(members.STATUSES, "The member's answer.")
    created_at = Attribute()
    updated_at = Attribute()


class Members(Schema):
    """With whom a workflow is shared."""

    members = ma.fields.List(ma.fields.Nested(Member))


def workflow(call: Call, identifier: str) -> str:
    """The id of the workflow; sharing needs projects, and those need authentication."""
    g.short_errors = True
    if call.platform.config.auth_mode == "none":
        raise Refused("Resource sharing feature can only be supported with authentication enabled.")
    try:
        return as_uuid("identifier", identifier)
    except Refused:
        raise Refused(
            "Only support UUID as resource identifier in resource sharing feature."
        ) from None


@blp.route("/workflows/<identifier>/members")
class MemberCollection(MethodView):
    @blp.operation(policy="members:list", returns=(200, Members), short_errors=True)
    def get(self, call: Call, identifier: str) -> Any:
        """List with whom a workflow is shared."""
        rows = members.listed(call.session, call.actor, workflow(call, identifier))
        return {"members": [Member.show(row, Member.attributes()) for row in rows]}

    @blp.operation(
        policy="members:create",
        body=("member_info", WrittenMember),
        returns=(201, Member),
        errors=[404],
        short_errors=True,
    )
    def post(self, call: Call, identifier: str) -> Any:
        """Offer a private workflow to another project."""
        resource_id = workflow(call, identifier)
        member_id = call.body.get("member_id")
        if not member_id:
            raise Refused("Member id must be provided.")
        row = members.share(call.session, call.actor, resource_id, member_id=member_id)
        return Member.show(row, [key for key in Member.attributes() if key != "updated_at"])


@blp.route("/workflows/<identifier>/members/<member_id>")
class MemberOne(MethodView):
    @blp.operation(policy="members:get", returns=(200, Member), errors=[404], short_errors=True)
    def get(self, call: Call, identifier: str, member_id: str) -> Any:
        """Show whether a project has accepted."""
        row = members.get(call.session, call.actor, workflow(call, identifier), member_id)
        return Member.show(row, Member.attributes())

    @blp.operation(
        policy="members:update",
        body=("member_info", WrittenMember),
        returns=(200, Member),
        errors=[404],
        short_errors=True,
    )
    def put(self, call: Call, identifier: str, member_id: str) -> Any:
        """Accept or reject what was offered to the own project."""
        resource_id = workflow(call, identifier)
        status = call.body.get("status")
        if not status:
            raise Refused("Status must be provided.")
        row = members.answer(
            call.session, call.actor, resource_id, member_id=member_id, status=status
        )
        return Member.show(row, Member.attributes())

    @blp.operation(policy="members:delete", returns=(204, None), errors=[404], short_errors=True)
    def delete(self, call: Call, identifier: str, member_id: str) -> Any:
        """End the sharing with a project."""
        members.withdraw(call.session, call.actor, workflow(call, identifier), member_id)
