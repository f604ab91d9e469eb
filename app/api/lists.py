"""Lists: from the arguments of a query to a page, and from its rows to the body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

import marshmallow as ma
import sqlalchemy
from flask import request
from sqlalchemy import Column, ColumnElement, null, type_coerce

from app.services import listing
from app.services.errors import Refused
from app.services.listing import Filter, Listing, Page

from .blueprint import Call, Schema
from .fields import Flag, Integer, JsonString, Text, Texts, Uuid, as_uuid


class FilterText(Text):
    """A value, or an operator, a colon and a value: eq, neq, gt, gte, lt, lte, in, nin, has."""

    def read_text(self, name: str, text: str) -> Filter:
        return Filter.parse(name, text)


class FilterUuid(Uuid):
    """A UUID; only equality is known, an operator before it is passed over."""

    doc = {"type": "string"}

    def read_text(self, name: str, text: str) -> Filter:
        word, colon, rest = text.partition(":")
        if colon and word in listing.OPERATORS:
            text = rest
        return Filter(name=name, value=as_uuid(name, text))


class FilterFlag(Flag):
    """True or false; false-like words are false."""

    def read_text(self, name: str, text: str) -> Filter:
        word, colon, rest = text.partition(":")
        if colon and word in ("eq", "neq"):
            return Filter(name=name, operator=word, value=super().read_text(name, rest))
        return Filter(name=name, value=super().read_text(name, text))


class FilterTags(Text):
    """Tags with commas between them; all of them must be there."""

    def read_text(self, name: str, text: str) -> Filter:
        word, colon, rest = text.partition(":")
        return Filter(name=name, value=rest if colon and word == "eq" else text)


class FilterJson(JsonString):
    """A JSON object that the stored one equals."""

    def read_text(self, name: str, text: str) -> Filter:
        word, colon, rest = text.partition(":")
        text = rest if colon and word == "eq" else text
        return Filter(name=name, value=super().read_text(name, text))


class Unfiltered(Text):
    """A filter that is known by name and refused: Mistral fails on it."""

    def read_text(self, name: str, text: str) -> Any:
        raise Refused(f"This list cannot be filtered by '{name}'.")


class PageQuery(Schema):
    """What every list understands."""

    marker = Uuid("The id of the last item of the page before.")
    limit = Integer("How many items at most.", metadata={"minimum": 1})
    sort_keys = Texts("Attributes to sort by. Default: created_at.")
    sort_dirs = Text("asc or desc for each of the sort keys, with commas between them.")
    fields = Texts("Attributes to show; the id is always shown.")


@dataclass(frozen=True, kw_only=True)
class ListView:
    """One kind of list: where its rows come from, and which attributes they show."""

    #: The key of the body, and the path of the collection.
    name: str
    schema: type[Schema]
    source: Listing
    #: Attributes shown when no ``fields`` are asked for.
    shown: Sequence[str]
    #: Attributes without a column: they may be asked for and have no value here.
    without: frozenset[str] = frozenset()
    #: Arguments that are neither filters nor about paging: shown in ``next`` when given.
    flags: Sequence[str] = ()
    #: Attribute -> further attributes that come along when it is asked for.
    along: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def respond(
        self,
        call: Call,
        *conditions: ColumnElement[bool],
        parent: Filter | None = None,
        extra: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The body: a page of the list and, when the page is full, where the next one is.

        *parent* is a filter that the path implied; *extra* are attributes to show besides.
        """
        page, fields = self.page(call, parent)
        keys = self._keys(fields, extra)
        columns, showers = zip(*(self._cell(key) for key in keys), strict=True)
        rows = listing.fetch(call.session, call.actor, self.source, page, columns, *conditions)
        items = [
            {key: show(value) for key, show, value in zip(keys, showers, row, strict=True)}
            for row in rows
        ]
        body: dict[str, Any] = {self.name: items}
        if items and len(items) == page.limit:
            body["next"] = self.link(call, page, items[-1]["id"], fields)
        return body

    def _cell(self, key: str) -> tuple[ColumnElement[Any], Callable[[Any], Any]]:
        """The column behind an attribute, and what shows a value of it."""
        attribute = self.schema.attributes()[key]
        column = self.source.column(key)
        assert column is not None or key in self.schema.constants, key
        if type(attribute) is JsonString and column is not None:
            # From text to text: the value itself is of no interest here.
            return _stored(column, key), attribute.show_stored
        return _named(column, key), attribute.show

    def page(self, call: Call, parent: Filter | None = None) -> tuple[Page, list[str] | None]:
        """The page that the query asks for, and the fields."""
        query = call.query
        largest = call.platform.config.max_limit
        limit = query.get("limit")
        if limit is not None and limit <= 0:
            raise Refused("Limit must be positive.")
        filters = [each for each in query.values() if isinstance(each, Filter)]
        if parent is not None:
            filters = [parent, *(each for each in filters if each.name != parent.name)]
        dirs = query.get("sort_dirs")
        page = Page(
            filters=filters,
            nulls=query.get("nulls", ()),
            sort_keys=query.get("sort_keys") or ("created_at",),
            sort_dirs=dirs.split(",") if dirs else (),
            limit=min(limit or largest, largest),
            marker=query.get("marker"),
        )
        fields = query.get("fields")
        if fields:
            check_fields(self.schema, fields)
            fields = list(dict.fromkeys(["id", *fields]))
        return page, fields or None

    def _keys(self, fields: list[str] | None, extra: Sequence[str]) -> Sequence[str]:
        attributes = list(self.schema.attributes())
        if fields is None:
            if not extra:
                return self.shown
            wanted = {*self.shown, *extra}
        else:
            wanted = set(fields)
            for each in fields:
                wanted.update(self.along.get(each, ()))
        return [key for key in attributes if key in wanted and key not in self.without]

    def link(self, call: Call, page: Page, last: str, fields: list[str] | None) -> str:
        """The address of the next page."""
        keys = listing.order(self.source, page)
        arguments = [
            ("sort_keys", ",".join(key for key, _, _ in keys)),
            ("sort_dirs", ",".join("desc" if down else "asc" for _, _, down in keys)),
        ]
        for each in page.filters:
            value = each.value
            if isinstance(self.schema.attributes().get(each.name), JsonString):
                value = JsonString().show(value)
            plain = each.name == "tags"
            arguments.append((each.name, str(value) if plain else f"{each.operator}:{value}"))
        arguments += [
            (name, _text(call.query[name])) for name in self.flags if call.query.get(name)
        ]
        arguments += [("limit", str(page.limit)), ("marker", last)]
        if fields:
            arguments.append(("fields", ",".join(fields)))
        text = "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in arguments)
        return f"{request.root_url}v2/{self.name}?{text}"


@cache
def _named(column: Column[Any] | None, name: str) -> ColumnElement[Any]:
    """A column under the name of its attribute; null for an attribute without one.

    Always the same object, so that the statement of a list can be kept.
    """
    return (null() if column is None else column).label(name)


@cache
def _stored(column: Column[Any], name: str) -> ColumnElement[Any]:
    """The same for JSON, as the text that is stored."""
    return type_coerce(column, sqlalchemy.Text).label(name)


#: What stays as it is in the values of a link, so that it reads like Mistral's.
_SAFE = ":,[]'/ -._~<>".replace(" ", "").replace("<", "").replace(">", "")


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def check_fields(schema: type[Schema], fields: Sequence[str]) -> None:
    """Raise Refused unless all of *fields* are attributes of *schema*."""
    known = schema.attributes()
    unknown = [each for each in fields if each not in known]
    if unknown:
        raise Refused(
            f"Some fields do not exist  [{', '.join(unknown)}], "
            f"please choose from [{', '.join(known)}]"
        )


@cache
def collection(name: str, schema: type[Schema]) -> type[Schema]:
    """The schema of a list of *schema* under the key *name*."""
    items = ma.fields.List(ma.fields.Nested(schema), required=True)
    link = Text("Where the next page is; absent when there is none.")
    return type(f"{schema.__name__}List", (Schema,), {name: items, "next": link})


__all__ = [
    "FilterFlag",
    "FilterJson",
    "FilterTags",
    "FilterText",
    "FilterUuid",
    "ListView",
    "PageQuery",
    "Unfiltered",
    "check_fields",
    "collection",
]
