"""Workflows."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from app.models import WorkflowDefinition
from app.services import definitions
from app.services.actors import require
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, Flag, JsonString, Text, Texts
from .lists import FilterTags, FilterText, ListView, PageQuery, Unfiltered, collection

blp = Blueprint("workflows", __name__, url_prefix="/v2", description="Definitions of workflows")

EXAMPLE = """\
version: '2.0'
greet:
  input: [name]
  tasks:
    hello: {action: std.echo output="Hello <% $.name %>"}
"""


class Workflow(Schema):
    """The definition of a workflow."""

    id = Text()
    name = Text()
    namespace = Text()
    input = Text("Names and defaults of the input.")
    interface = JsonString("Names of input and output.")
    definition = Text("The text.")
    checksum = Text("MD5 of the text; null for members of workbooks.")
    tags = Texts()
    scope = Choice(definitions.SCOPES)
    project_id = Text()
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class WrittenWorkflow(Workflow):
    """The definition of a workflow, as creating and updating it answer."""

    interface = Attribute("Names of input and output.", metadata={"type": "object"})


class WrittenWorkflows(Schema):
    """The workflows of a document, in its order."""

    workflows = ma.fields.List(ma.fields.Nested(WrittenWorkflow))


class WriteQuery(Schema):
    """How the document is stored."""

    scope = Text("private or public; public is for administrators.")
    namespace = Text(length=255)
    skip_validation = Text("Counts only where the server is set to allow it; its value does not.")


class GetQuery(Schema):
    """Which workflow, and what of it."""

    namespace = Text(length=255)
    fields = Texts("Attributes to show; the id is always shown.")


class NamespaceQuery(Schema):
    """Where the name is looked up."""

    namespace = Text(length=255)


class Validity(Schema):
    """Whether a text is valid."""

    valid = Flag(required=True)
    error = Text("What is wrong, when it is not valid.")


class ListQuery(PageQuery):
    """Which workflows, and what of them."""

    name = FilterText()
    namespace = FilterText()
    input = Unfiltered()
    definition = FilterText()
    tags = FilterTags()
    scope = FilterText()
    project_id = FilterText()
    created_at = FilterText()
    updated_at = FilterText()
    all_projects = Flag("Those of all projects; for administrators.")


LIST = ListView(
    name="workflows",
    schema=Workflow,
    source=Listing(model=WorkflowDefinition, missing="Workflow not found [workflow_id={}]"),
    shown=tuple(Workflow.attributes()),
    flags=("all_projects",),
    along={"input": ("interface",)},
)
#: Just created objects do not show when they were updated.
CREATED = tuple(key for key in Workflow.attributes() if key != "updated_at")


@blp.route("/workflows")
class Workflows(MethodView):
    @blp.operation(
        policy="workflows:list",
        query=ListQuery,
        returns=(200, collection("workflows", Workflow)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List workflows."""
        if call.query.get("all_projects"):
            require(call.actor, "workflows:list:all_projects")
        return LIST.respond(call)

    @blp.operation(
        policy="workflows:create",
        query=WriteQuery,
        text=True,
        returns=(201, WrittenWorkflows),
    )
    def post(self, call: Call) -> Any:
        """Create the workflows of a document."""
        rows = definitions.create_workflows(
            call.session, call.actor, text=call.body, **written(call)
        )
        return {"workflows": [WrittenWorkflow.show(row, CREATED) for row in rows]}

    @blp.operation(
        policy="workflows:update",
        query=WriteQuery,
        text=True,
        returns=(200, WrittenWorkflows),
        errors=[404],
    )
    def put(self, call: Call) -> Any:
        """Replace the workflows that a document names."""
        rows = definitions.update_workflows(
            call.session, call.actor, text=call.body, **written(call)
        )
        shown = WrittenWorkflow.attributes()
        return {"workflows": [WrittenWorkflow.show(row, shown) for row in rows]}


@blp.route("/workflows/validate")
class Validation(MethodView):
    @blp.operation(policy=None, text=True, returns=(200, Validity), session=False)
    def post(self, call: Call) -> Any:
        """Tell whether a document of workflows is valid."""
        return validity("workflow", call.body)


@blp.route("/workflows/<identifier>")
class WorkflowOne(MethodView):
    @blp.operation(policy="workflows:get", query=GetQuery, returns=(200, Workflow), errors=[404])
    def get(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Show a workflow."""
        row = definitions.get_workflow(
            call.session, call.actor, identifier, namespace=place(call, namespace)
        )
        fields = call.query.get("fields")
        if fields:
            wanted = {"id", *fields}
            return Workflow.show(row, [key for key in Workflow.attributes() if key in wanted])
        return Workflow.show(row, Workflow.attributes())

    @blp.operation(
        policy="workflows:update",
        query=WriteQuery,
        text=True,
        returns=(200, WrittenWorkflow),
        errors=[404],
    )
    def put(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Replace a workflow; the document may give it another name."""
        rows = definitions.update_workflows(
            call.session,
            call.actor,
            text=call.body,
            identifier=identifier,
            **(written(call) | {"namespace": place(call, namespace)}),
        )
        return WrittenWorkflow.show(rows[0], WrittenWorkflow.attributes())

    @blp.operation(
        policy="workflows:delete", query=NamespaceQuery, returns=(204, None), errors=[404]
    )
    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Delete a workflow; its executions stay."""
        definitions.delete_workflow(
            call.session, call.actor, identifier=identifier, namespace=place(call, namespace)
        )


blp.add_url_rule("/workflows/<identifier>/<namespace>", "WorkflowInNamespace", WorkflowOne)


def written(call: Call) -> dict[str, Any]:
    """Scope and namespace of a document that is stored."""
    return {
        "scope": call.query.get("scope", "private"),
        "namespace": call.query.get("namespace", ""),
    }


def place(call: Call, namespace: str | None) -> str:
    """The namespace: of the path, or of the query."""
    return namespace if namespace is not None else call.query.get("namespace", "")


def validity(kind: str, text: str) -> dict[str, Any]:
    """Whether a text is valid, and what is wrong with it if not."""
    problem = definitions.validate(kind, text)
    return {"valid": True} if problem is None else {"valid": False, "error": str(problem)}
