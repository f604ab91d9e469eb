"""Actions: Celeriac's own, those of plug-ins, ad-hoc and dynamic ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from flask import request
from flask.views import MethodView
from sqlalchemy import select

from app.actions.registry import ActionType
from app.models import ActionDefinition, DynamicAction
from app.services import definitions
from app.services.actors import visible
from app.services.errors import NotFound, Refused
from app.services.listing import Filter, Listing, order

from .blueprint import Blueprint, Call, Schema
from .fields import Choice, Flag, Stamp, Text, Texts
from .lists import FilterText, ListView, PageQuery, Unfiltered
from .workflows import NamespaceQuery, Validity, WriteQuery, place, validity, written

blp = Blueprint("actions", __name__, url_prefix="/v2", description="What tasks do")


class Action(Schema):
    """An action."""

    id = Text("The name, of actions that are not ad-hoc.")
    name = Text()
    is_system = Flag("Always false, as in Mistral.")
    input = Text("Names and defaults of the input.")
    description = Text()
    tags = Texts()
    definition = Text("The text; empty for actions that are not ad-hoc.")
    scope = Choice(definitions.SCOPES)
    project_id = Text()
    created_at = Stamp("Empty for actions that are not ad-hoc.")
    updated_at = Stamp()
    namespace = Text()


class Actions(Schema):
    """The actions of a document, in its order."""

    actions = ma.fields.List(ma.fields.Nested(Action))


class ActionList(Schema):
    """A page of actions."""

    actions = ma.fields.List(ma.fields.Nested(Action), required=True)
    next = Text("Where the next page is; absent when there is none.")


class ListQuery(PageQuery):
    """Which actions."""

    marker = Text("The name or id of the last item of the page before.")
    name = FilterText()
    is_system = Unfiltered()
    input = Unfiltered()
    description = Unfiltered()
    tags = Unfiltered()
    definition = Unfiltered()
    scope = FilterText()
    namespace = FilterText("Without it: actions of the default namespace.")
    created_at = FilterText()
    updated_at = FilterText()


LIST = ListView(
    name="actions",
    schema=Action,
    source=Listing(model=ActionDefinition, missing="Action not found [id={}]"),
    shown=tuple(Action.attributes()),
)
CREATED = tuple(key for key in Action.attributes() if key != "updated_at")


def shown(row: Any, keys: Sequence[str]) -> dict[str, Any]:
    """An ad-hoc action as creating and updating it answer."""
    attributes = Action.attributes()
    return {
        key: False if key == "is_system" else attributes[key].show(getattr(row, key))
        for key in keys
    }


def _own(action: ActionType) -> dict[str, Any]:
    """An action of Celeriac or of a plug-in, as everybody sees it."""
    return _without_text(action.name, action.input_summary, action.description)


def _without_text(name: str, input: str, description: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "is_system": False,
        "input": input,
        "description": description,
        "tags": None,
        "definition": "",
        "scope": None,
        "project_id": None,
        "created_at": "",
        "updated_at": "",
        "namespace": "",
    }


def _stored(row: ActionDefinition | DynamicAction) -> dict[str, Any]:
    """An action that somebody has stored, as lists show it."""
    if isinstance(row, ActionDefinition):
        return shown(row, Action.attributes()) | {"input": row.input or ""}
    parameters = ", ".join(
        each["name"]
        if each.get("required", True)
        else f"{each['name']}={json.dumps(each.get('default'))}"
        for each in row.parameters or ()
    )
    return _without_text(row.name, parameters, f"The class {row.class_name}.") | {
        "scope": row.scope,
        "project_id": row.project_id,
        "namespace": row.namespace,
    }


@blp.route("/actions")
class ActionCollection(MethodView):
    @blp.operation(policy="actions:list", query=ListQuery, returns=(200, ActionList))
    def get(self, call: Call) -> Any:
        """List actions: all kinds together, by name unless asked otherwise."""
        limit = call.query.get("limit")
        if limit is not None and limit <= 0:
            raise Refused("Limit must be positive.")
        call.query.setdefault("sort_keys", ["name"])
        asked = dict(call.query)
        call.query.setdefault("namespace", Filter(name="namespace", value=""))
        page, _ = LIST.page(call)
        items = [_own(each) for each in call.platform.registry.all()]
        for model in (ActionDefinition, DynamicAction):
            rows = call.session.scalars(select(model).where(visible(model, call.actor)))
            items.extend(_stored(row) for row in rows)
        for each in page.filters:
            test = _test(each)
            items = [item for item in items if test(item)]
        for key, _, down in reversed(order(LIST.source, page)):
            items.sort(key=lambda item, key=key: _sortable(item[key]), reverse=down)
        items = _after(items, call.query.get("marker"))
        if limit is None:
            return {"actions": items}
        body: dict[str, Any] = {"actions": items[:limit]}
        if len(items) >= limit:
            call.query = asked
            page, fields = LIST.page(call)
            body["next"] = LIST.link(call, page, items[limit - 1]["id"], fields)
        return body

    @blp.operation(policy="actions:create", query=WriteQuery, text=True, returns=(201, Actions))
    def post(self, call: Call) -> Any:
        """Create the ad-hoc actions of a document."""
        rows = definitions.create_actions(call.session, call.actor, text=call.body, **written(call))
        return {"actions": [shown(row, CREATED) for row in rows]}

    @blp.operation(
        policy="actions:update", query=WriteQuery, text=True, returns=(200, Actions), errors=[404]
    )
    def put(self, call: Call) -> Any:
        """Replace the ad-hoc actions that a document names."""
        rows = definitions.update_actions(call.session, call.actor, text=call.body, **written(call))
        return {"actions": [shown(row, Action.attributes()) for row in rows]}


@blp.route("/actions/validate")
class Validation(MethodView):
    @blp.operation(policy=None, text=True, returns=(200, Validity), session=False)
    def post(self, call: Call) -> Any:
        """Tell whether a document of ad-hoc actions is valid."""
        return validity("action", call.body)


@blp.route("/actions/<identifier>")
class ActionOne(MethodView):
    @blp.operation(policy="actions:get", query=NamespaceQuery, returns=(200, Action), errors=[404])
    def get(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Show an action, found by its name."""
        namespace = place(call, namespace)
        row = definitions.find_action(
            call.session, name=identifier, namespace=namespace, project_id=call.actor.project_id
        )
        if row is not None:
            return _stored(row)
        found = {each.name: each for each in call.platform.registry.all()}.get(identifier)
        if found is None:
            raise NotFound(f"Action not found [name={identifier}, namespace={namespace}]")
        return _own(found)

    @blp.operation(
        policy="actions:update", query=WriteQuery, text=True, returns=(200, Actions), errors=[404]
    )
    def put(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Replace an ad-hoc action; the document may give it another name."""
        rows = definitions.update_actions(
            call.session,
            call.actor,
            text=call.body,
            identifier=identifier,
            **(written(call) | {"namespace": place(call, namespace)}),
        )
        return {"actions": [shown(row, Action.attributes()) for row in rows]}

    @blp.operation(policy="actions:delete", query=NamespaceQuery, returns=(204, None), errors=[404])
    def delete(self, call: Call, identifier: str, namespace: str | None = None) -> Any:
        """Delete an ad-hoc action."""
        definitions.delete_action(
            call.session, call.actor, identifier=identifier, namespace=place(call, namespace)
        )


blp.add_url_rule("/actions/<identifier>/<namespace>", "ActionInNamespace", ActionOne)


# --- filters, in memory: actions come from several places -------------------------------------


def _after(items: list[dict[str, Any]], marker: str | None) -> list[dict[str, Any]]:
    """The items behind the one with that id; from the one with that name on; else all.

    The name includes its item because Mistral's clients know it so, the id does not because
    that is what the link to the next page carries.
    """
    if marker is None:
        return items
    for position, item in enumerate(items):
        if item["id"] == marker:
            # Of other than ad-hoc actions the name is the id; only a link carries the order.
            ours = item["id"] != item["name"] or "sort_keys" in request.args
            return items[position + 1 :] if ours else items[position:]
        if item["name"] == marker:
            return items[position:]
    return items


def _sortable(value: Any) -> tuple[bool, str]:
    return (value is not None, str(value))


def _test(filter: Filter) -> Callable[[dict[str, Any]], bool]:
    name, word, value = filter.name, filter.operator, filter.value
    if name == "tags":
        tags = {tag.strip() for tag in str(value).split(",") if tag.strip()}
        return lambda item: tags <= set(item["tags"] or ())
    if name in ("created_at", "updated_at") and isinstance(value, str):
        value = _time(name, value)
    tests: dict[str, Callable[[Any], bool]] = {
        "eq": lambda found: found == value,
        "neq": lambda found: found != value,
        "gt": lambda found: found > value,
        "gte": lambda found: found >= value,
        "lt": lambda found: found < value,
        "lte": lambda found: found <= value,
        "in": lambda found: found in value,
        "nin": lambda found: found not in value,
        "has": lambda found: value in found,
    }
    test = tests[word]
    if isinstance(value, bool):
        return lambda item: item[name] is not None and test(item[name])
    return lambda item: item[name] is not None and test(str(item[name]))


def _time(name: str, text: str) -> str:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Refused(
            f"Invalid input for field/attribute {name}. Value: '{text}'. "
            "Expected a date and time like 2026-01-31 10:00:00."
        ) from None
    time = time.astimezone(UTC) if time.tzinfo else time
    return time.strftime("%Y-%m-%d %H:%M:%S")
