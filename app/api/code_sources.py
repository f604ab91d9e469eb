"""Code sources and dynamic actions: for administrators."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.models import CodeSource as CodeSourceRow
from app.models import DynamicAction as DynamicActionRow
from app.services import code_sources, definitions
from app.services.errors import Refused
from app.services.listing import Listing

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Choice, DateTime, Flag, Integer, Text, Texts
from .lists import FilterTags, FilterText, FilterUuid, ListView, PageQuery, collection
from .workflows import GetQuery, NamespaceQuery, place

blp = Blueprint("code_sources", __name__, url_prefix="/v2", description="Actions in Python")


class CodeSource(Schema):
    """The text of a Python module with actions in it."""

    id = Text()
    name = Text()
    namespace = Text()
    content = Text()
    version = Integer("From 1, one more at each update.")
    project_id = Text()
    scope = Choice(definitions.SCOPES)
    actions = Texts("Never shown.")
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class DynamicAction(Schema):
    """An action that is a class in a code source."""

    id = Text()
    name = Text()
    namespace = Text()
    code_source_id = Text()
    code_source_name = Text()
    class_name = Text()
    project_id = Text()
    scope = Choice(definitions.SCOPES)
    created_at = DateTime()
    updated_at = DateTime("Null until the first update.")


class WrittenDynamicAction(Schema):
    """Which class is the action."""

    id = Text()
    name = Text(length=255)
    namespace = Text(length=255)
    code_source_id = Text()
    code_source_name = Text()
    class_name = Text(length=255)
    project_id = Text(read_only=True)
    scope = Choice(definitions.SCOPES)
    created_at = Attribute()
    updated_at = Attribute()


class CreateQuery(Schema):
    """How the module is stored."""

    name = Text(length=255)
    scope = Text("private or public.")
    namespace = Text(length=255)


class UpdateQuery(Schema):
    """Which module is replaced."""

    identifier = Text("Id or name.")
    scope = Text("private or public.")
    namespace = Text(length=255)


class CodeSourceQuery(PageQuery):
    """Which modules, and what of them."""

    name = FilterText()
    tags = FilterTags()
    scope = FilterText()
    project_id = FilterText()
    namespace = FilterText()
    created_at = FilterText()
    updated_at = FilterText()
    all_projects = Flag("Those of all projects.")


class DynamicActionQuery(PageQuery):
    """Which actions, and what of them."""

    name = FilterText()
    namespace = FilterText()
    code_source_id = FilterUuid()
    code_source_name = FilterText()
    class_name = FilterText()
    scope = FilterText()
    project_id = FilterText()
    created_at = FilterText()
    updated_at = FilterText()
    all_projects = Flag("Those of all projects.")


SOURCES = ListView(
    name="code_sources",
    schema=CodeSource,
    source=Listing(model=CodeSourceRow, missing="Code Source not found [id={}]"),
    shown=tuple(key for key in CodeSource.attributes() if key != "actions"),
    without=frozenset({"actions"}),
    flags=("all_projects",),
)
ACTIONS = ListView(
    name="dynamic_actions",
    schema=DynamicAction,
    source=Listing(model=DynamicActionRow, missing="Dynamic Action not found [id={}]"),
    shown=tuple(DynamicAction.attributes()),
    flags=("all_projects",),
)


def _created(keys: Any) -> list[str]:
    return [key for key in keys if key not in ("updated_at", "actions")]


def _chosen(shown: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    if not fields:
        return shown
    return {key: value for key, value in shown.items() if key == "id" or key in fields}


@blp.route("/code_sources")
class CodeSources(MethodView):
    @blp.operation(
        policy="code_sources:list",
        query=CodeSourceQuery,
        returns=(200, collection("code_sources", CodeSource)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List code sources."""
        return SOURCES.respond(call)

    @blp.operation(
        policy="code_sources:create", query=CreateQuery, text=True, returns=(201, CodeSource)
    )
    def post(self, call: Call) -> Any:
        """Store a Python module."""
        row = code_sources.create(
            call.session,
            call.actor,
            name=call.query.get("name", ""),
            content=call.body,
            namespace=call.query.get("namespace", ""),
            scope=call.query.get("scope", "private"),
        )
        return CodeSource.show(row, _created(CodeSource.attributes()))

    @blp.operation(
        policy="code_sources:update",
        query=UpdateQuery,
        text=True,
        returns=(200, CodeSource),
        errors=[404],
    )
    def put(self, call: Call) -> Any:
        """Replace the text of a module; its version grows by one."""
        return _replace(call, call.query.get("identifier"))


def _replace(call: Call, identifier: str | None) -> Any:
    if not identifier:
        raise Refused('Missing argument: "identifier"')
    row = code_sources.update(
        call.session,
        call.actor,
        identifier,
        content=call.body,
        namespace=call.query.get("namespace", ""),
        scope=call.query.get("scope"),
    )
    return CodeSource.show(row, SOURCES.shown)


@blp.route("/code_sources/<identifier>")
class CodeSourceOne(MethodView):
    @blp.operation(
        policy="code_sources:get", query=GetQuery, returns=(200, CodeSource), errors=[404]
    )
    def get(self, call: Call, identifier: str) -> Any:
        """Show a code source, by id or name."""
        row = code_sources.get(call.session, call.actor, identifier, namespace=place(call, None))
        return _chosen(CodeSource.show(row, SOURCES.shown), call.query.get("fields"))

    @blp.operation(
        policy="code_sources:update",
        query=UpdateQuery,
        text=True,
        returns=(200, CodeSource),
        errors=[404],
    )
    def put(self, call: Call, identifier: str) -> Any:
        """Replace the text of a module; its version grows by one."""
        return _replace(call, identifier)

    @blp.operation(
        policy="code_sources:delete", query=NamespaceQuery, returns=(204, None), errors=[404]
    )
    def delete(self, call: Call, identifier: str) -> Any:
        """Delete a code source and the actions in it."""
        code_sources.delete(call.session, call.actor, identifier, namespace=place(call, None))


@blp.route("/dynamic_actions")
class DynamicActions(MethodView):
    @blp.operation(
        policy="dynamic_actions:list",
        query=DynamicActionQuery,
        returns=(200, collection("dynamic_actions", DynamicAction)),
        errors=[404],
    )
    def get(self, call: Call) -> Any:
        """List dynamic actions."""
        return ACTIONS.respond(call)

    @blp.operation(
        policy="dynamic_actions:create",
        body=("dyn_action", WrittenDynamicAction),
        returns=(201, DynamicAction),
        errors=[404],
    )
    def post(self, call: Call) -> Any:
        """Name a class of a code source as an action."""
        row = code_sources.create_action(call.session, call.actor, call.body)
        return DynamicAction.show(row, _created(DynamicAction.attributes()))

    @blp.operation(
        policy="dynamic_actions:update",
        body=("dyn_action", WrittenDynamicAction),
        returns=(200, DynamicAction),
        errors=[404],
    )
    def put(self, call: Call) -> Any:
        """Change the action that the body names."""
        row = code_sources.update_action(call.session, call.actor, call.body)
        return DynamicAction.show(row, DynamicAction.attributes())


@blp.route("/dynamic_actions/<identifier>")
class DynamicActionOne(MethodView):
    @blp.operation(
        policy="dynamic_actions:get", query=GetQuery, returns=(200, DynamicAction), errors=[404]
    )
    def get(self, call: Call, identifier: str) -> Any:
        """Show a dynamic action, by id or name."""
        row = code_sources.get_action(
            call.session, call.actor, identifier, namespace=place(call, None)
        )
        shown = DynamicAction.show(row, DynamicAction.attributes())
        return _chosen(shown, call.query.get("fields"))

    @blp.operation(
        policy="dynamic_actions:delete", query=NamespaceQuery, returns=(204, None), errors=[404]
    )
    def delete(self, call: Call, identifier: str) -> Any:
        """Delete a dynamic action; its code source stays."""
        code_sources.delete_action(
            call.session, call.actor, identifier, namespace=place(call, None)
        )
