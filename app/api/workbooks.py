"""Workbooks."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.models import Workbook as WorkbookRow
from app.services import definitions
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Choice, DateTime, Text, Texts
from .lists import FilterTags, FilterText, ListView, PageQuery, collection
from .workflows import (
    GetQuery,
    NamespaceQuery,
    Validity,
    WriteQuery,
    place,
    validity,
    written,
)

blp = Blueprint(
    "workbooks", __name__, url_prefix="/v2", description="Several workflows and actions in one text"
)


class Workbook(Schema):
    """The definition of a workbook."""

    id = Text()
    name = Text()
    namespace = Text()
    definition = Text("The text.")
    tags = Texts()
    scope = Choice(definitions.SCOPES)
    project_id = Text()
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class ListQuery(PageQuery):
    """Which workbooks, and what of them."""

    name = FilterText()
    namespace = FilterText()
    definition = FilterText()
    tags = FilterTags()
    scope = FilterText()
    created_at = FilterText()
    updated_at = FilterText()


LIST = ListView(
    name="workbooks",
    schema=Workbook,
    source=Listing(model=WorkbookRow, missing="Workbook not found [id={}]"),
    shown=tuple(Workbook.attributes()),
)
CREATED = tuple(key for key in Workbook.attributes() if key != "updated_at")


@blp.route("/workbooks")
class Workbooks(MethodView):
    @blp.operation(
        policy="workbooks:list",
        query=ListQuery,
        returns=(200, collection("workbooks", Workbook)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List workbooks."""
        return LIST.respond(call)

    @blp.operation(policy="workbooks:create", query=WriteQuery, text=True, returns=(201, Workbook))
    def post(self, call: Call) -> Any:
        """Create a workbook and its members."""
        row = definitions.create_workbook(call.session, call.actor, text=call.body, **written(call))
        return Workbook.show(row, CREATED)

    @blp.operation(
        policy="workbooks:update",
        query=WriteQuery,
        text=True,
        returns=(200, Workbook),
        errors=[404],
    )
    def put(self, call: Call) -> Any:
        """Replace the workbook that a text names; members that are gone from it stay."""
        row = definitions.update_workbook(call.session, call.actor, text=call.body, **written(call))
        return Workbook.show(row, Workbook.attributes())


@blp.route("/workbooks/validate")
class Validation(MethodView):
    @blp.operation(policy=None, text=True, returns=(200, Validity), session=False)
    def post(self, call: Call) -> Any:
        """Tell whether a workbook is valid."""
        return validity("workbook", call.body)


@blp.route("/workbooks/<name>")
class WorkbookOne(MethodView):
    @blp.operation(policy="workbooks:get", query=GetQuery, returns=(200, Workbook), errors=[404])
    def get(self, call: Call, name: str, namespace: str | None = None) -> Any:
        """Show a workbook."""
        row = definitions.get_workbook(
            call.session, call.actor, name=name, namespace=place(call, namespace)
        )
        fields = call.query.get("fields")
        if fields:
            wanted = {"id", *fields}
            return Workbook.show(row, [key for key in Workbook.attributes() if key in wanted])
        return Workbook.show(row, Workbook.attributes())

    @blp.operation(
        policy="workbooks:delete", query=NamespaceQuery, returns=(204, None), errors=[404]
    )
    def delete(self, call: Call, name: str, namespace: str | None = None) -> Any:
        """Delete a workbook; its members stay."""
        definitions.delete_workbook(
            call.session, call.actor, name=name, namespace=place(call, namespace)
        )


blp.add_url_rule("/workbooks/<name>/<namespace>", "WorkbookInNamespace", WorkbookOne)
