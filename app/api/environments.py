"""Environments."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.models import Environment as EnvironmentRow
from app.services import definitions, environments
from app.services.errors import Refused
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, JsonString, Text, Texts
from .lists import FilterJson, FilterText, ListView, PageQuery, collection

blp = Blueprint("environments", __name__, url_prefix="/v2", description="Stored sets of values")


class Environment(Schema):
    """A stored set of values that executions may use."""

    id = Text()
    name = Text()
    description = Text()
    variables = JsonString()
    scope = Choice(definitions.SCOPES)
    project_id = Text()
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class WrittenEnvironment(Schema):
    """What an environment holds."""

    id = Attribute("Not accepted.", metadata={"type": "string"})
    name = Text(length=200, required=True)
    description = Text()
    variables = JsonString()
    scope = Choice(definitions.SCOPES, "public is for administrators.")
    project_id = Text(read_only=True)
    created_at = Attribute("Not accepted.", metadata={"type": "string"})
    updated_at = Attribute("Not accepted.", metadata={"type": "string"})


class ListQuery(PageQuery):
    """Which environments, and what of them."""

    name = FilterText()
    description = FilterText()
    variables = FilterJson()
    scope = FilterText()
    created_at = FilterText()
    updated_at = FilterText()


class GetQuery(Schema):
    """What to show."""

    fields = Texts("Attributes to show; the id is always shown.")


_SETTABLE = ["name", "description", "variables", "scope"]
LIST = ListView(
    name="environments",
    schema=Environment,
    source=Listing(model=EnvironmentRow, missing="Environment not found [id={}]"),
    shown=tuple(Environment.attributes()),
)


def _settable(body: dict[str, Any]) -> dict[str, Any]:
    if any(name not in _SETTABLE for name in body):
        raise Refused(
            f"Please, check your environment definition. Only: {_SETTABLE} are allowed as "
            "definition keys."
        )
    return body


@blp.route("/environments")
class Environments(MethodView):
    @blp.operation(
        policy="environments:list",
        query=ListQuery,
        returns=(200, collection("environments", Environment)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List environments."""
        return LIST.respond(call)

    @blp.operation(
        policy="environments:create", body=("env", WrittenEnvironment), returns=(201, Environment)
    )
    def post(self, call: Call) -> Any:
        """Create an environment."""
        row = environments.create(call.session, call.actor, _settable(call.body))
        keys = [
            key
            for key in Environment.attributes()
            if key != "updated_at" and (key not in ("description", "variables") or key in call.body)
        ]
        return Environment.show(row, keys)

    @blp.operation(
        policy="environments:update",
        body=("env", WrittenEnvironment),
        returns=(200, Environment),
        errors=[404],
    )
    def put(self, call: Call) -> Any:
        """Change the environment that the body names; variables are replaced as a whole."""
        row = environments.update(call.session, call.actor, _settable(call.body))
        return Environment.show(row, Environment.attributes())


@blp.route("/environments/<name>")
class EnvironmentOne(MethodView):
    @blp.operation(
        policy="environments:get", query=GetQuery, returns=(200, Environment), errors=[404]
    )
    def get(self, call: Call, name: str) -> Any:
        """Show an environment."""
        shown = Environment.show(
            environments.get(call.session, call.actor, name), Environment.attributes()
        )
        fields = call.query.get("fields")
        if fields:
            return {key: value for key, value in shown.items() if key == "id" or key in fields}
        return shown

    @blp.operation(policy="environments:delete", returns=(204, None), errors=[404])
    def delete(self, call: Call, name: str) -> Any:
        """Delete an environment."""
        environments.delete(call.session, call.actor, name)
