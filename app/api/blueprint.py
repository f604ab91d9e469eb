"""What every operation of the API has in common: who may, what is read, what is answered.

An operation is declared once; from the declaration come the checks, the transaction and the
OpenAPI document.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, ClassVar

import flask_smorest
import marshmallow as ma
from flask import Response, current_app, g, request
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.models.types import dumps
from app.services import actors, maintenance, outbox
from app.services.actors import Actor
from app.services.errors import Refused
from app.services.platform import Platform

from .errors import Unsupported
from .fields import Attribute, BadBody, BadValue, Text, storable

#: How often a request is tried again when the database chose it as the victim of a deadlock.
_ATTEMPTS = 5
_DEADLOCK = ("40P01", "40001")
#: How deep a JSON body may nest.
_DEEPEST = 200


class Schema(ma.Schema):
    """The attributes of a resource, in the order in which they are shown."""

    class Meta:
        unknown = ma.RAISE

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """Name -> attribute, in order."""
        return cls._declared_fields  # type: ignore[return-value]  # all of ours are Attributes

    #: Attributes that always show the same, whatever is stored.
    constants: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def show(cls, source: Any, keys: Iterable[str]) -> dict[str, Any]:
        """*keys* of the object *source*, as the response carries them."""
        known = cls.attributes()
        constants = cls.constants
        return {
            key: constants[key] if key in constants else known[key].show(getattr(source, key))
            for key in keys
        }


class Fault(ma.Schema):
    """A refusal or a failure, with its reason."""

    faultcode = ma.fields.String(metadata={"enum": ["Client", "Server"]})
    faultstring = ma.fields.String(required=True)
    debuginfo = ma.fields.String(allow_none=True)


class ShortFault(ma.Schema):
    """A refusal or a failure of an operation that takes text, with its reason."""

    class Meta:
        include = {"faultcode": ma.fields.String(), "debuginfo": ma.fields.String(allow_none=True)}

    faultstring = ma.fields.String(required=True)


@dataclass(slots=True)
class Call:
    """One request, understood."""

    platform: Platform
    actor: Actor
    #: Arguments that were given.
    query: dict[str, Any] = field(default_factory=dict)
    #: Attributes that were given, or the text of the body.
    body: Any = None
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The session of this request; who opened it commits."""
        assert self._session is not None, "this operation was declared without a session"
        return self._session


#: Answers whether a write goes on although the installation is being paused.
WhilePaused = Callable[[Call, str], bool]


class Blueprint(flask_smorest.Blueprint):
    """The operations of one resource."""

    def operation(
        self,
        *,
        policy: str | None,
        returns: tuple[int, type[Schema] | ma.Schema | None],
        query: type[Schema] | None = None,
        body: tuple[str, type[Schema]] | None = None,
        text: bool = False,
        errors: Sequence[int] = (),
        short_errors: bool = False,
        session: bool = True,
        while_paused: WhilePaused = lambda _call, _status: False,
        checks_maintenance: bool = False,
        also: Mapping[int, type[Schema]] | None = None,
        example: Any = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a method of a view.

        *policy* is checked after the request was read; None is for what everybody may, unknown
        callers too. *body* is the name that messages give to the JSON body, and its attributes;
        *text* says that the body is a text. The view gets a Call and what the path says, and
        returns what the body of the response is made of. What writes is refused during maintenance,
        but for what *while_paused* lets through and where the view *checks_maintenance* itself.
        """
        status, schema = returns
        codes = set(errors) | {400, 500, 503}
        if policy is not None:
            codes |= {401, 403}
        if body or text:
            codes |= {413, 415}

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            writes = view.__name__ != "get" and policy is not None

            @wraps(view)
            def wrapper(_view: Any, **path: Any) -> Response:
                g.short_errors = text or short_errors
                app = current_app.extensions["celeriac"]
                call = Call(app.platform, _NOBODY if policy is None else app.authenticate(request))
                if request.args or query is not None:
                    call.query = _read_query(query)
                if body is not None:
                    call.body = _read_body(*body)
                elif text:
                    call.body = _read_text()
                if policy is not None:
                    actors.require(call.actor, policy)
                _check_path(path)
                return _run(view, _view, call, path)

            def _run(view: Any, self: Any, call: Call, path: dict[str, Any]) -> Response:
                for attempt in range(_ATTEMPTS):
                    try:
                        if writes and not session and not checks_maintenance:
                            with call.platform.database.read() as call._session:
                                _check_maintenance(call, while_paused)
                        with _scope(call.platform, session, writes) as call._session:
                            if writes and session:
                                _check_maintenance(call, while_paused)
                            return _respond(view(self, call, **path), status)
                    except OperationalError as err:
                        state = getattr(err.orig, "sqlstate", None)
                        if state not in _DEADLOCK or attempt == _ATTEMPTS - 1:
                            raise
                        time.sleep(0.02 * (attempt + 1))
                raise AssertionError("not reached")

            if writes:
                codes.update({423, 409})
            _document(wrapper, status, schema, query, body, text, text or short_errors, codes)
            for code, other in (also or {}).items():
                wrapper._apidoc["response"]["responses"][code][0]["schema"] = other  # type: ignore
            if example is not None:
                wrapper._apidoc["response"]["responses"][status][0]["example"] = example
            return wrapper

        return decorate


_NOBODY = Actor()


def _scope(platform: Platform, session: bool, writes: bool) -> Any:
    if not session:
        return nullcontext()
    if writes:
        return outbox.unit_of_work(platform.database, platform.broker)
    return platform.database.read()


def _check_maintenance(call: Call, while_paused: WhilePaused) -> None:
    maintenance.require_running(call.session, unless=lambda status: while_paused(call, status))


def _respond(result: Any, status: int) -> Response:
    if isinstance(result, Response):
        return result
    if status == 204:
        response = Response(status=204)
        response.headers.pop("Content-Type", None)
        return response
    return Response(dumps(result), status, content_type="application/json")


def _check_path(path: Mapping[str, Any]) -> None:
    for name, value in path.items():
        if isinstance(value, str) and not storable(value):
            raise BadValue(name, ascii(value)[1:-1], "Not a text that can be stored")


def _read_query(schema: type[Schema] | None) -> dict[str, Any]:
    """The arguments that were given, by the attributes of *schema*; the last of a name counts."""
    known = schema.attributes() if schema is not None else {}
    given = {name: texts[-1] for name, texts in request.args.lists()}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise Refused(f'Unknown argument: "{", ".join(unknown)}"')
    for name, text in given.items():
        if not storable(text):
            raise BadValue(name, ascii(text)[1:-1], "Not a text that can be stored")
    return {name: known[name].read_text(name, text) for name, text in given.items()}


def _read_body(argument: str, schema: type[Schema]) -> dict[str, Any]:
    """The attributes that the JSON body gives, by *schema*; null stays None."""
    raw = request.get_data()
    kind = request.mimetype
    if kind == "application/x-www-form-urlencoded":
        names = ", ".join(name for name, _ in request.form.items())
        raise Refused(
            f'Unknown argument: "{names}"' if names else f'Missing argument: "{argument}"'
        )
    if not raw.strip():
        raise Refused(f'Missing argument: "{argument}"')
    if kind != "application/json":
        raise Unsupported(f"Unknown mimetype: {kind}")
    data = _parse(raw)
    if not isinstance(data, dict):
        raise Refused(f"Expected a JSON object, got {_kind(data)}")
    known = schema.attributes()
    values: dict[str, Any] = {}
    unknown = [name for name in data if name not in known]
    if unknown:
        names = ", ".join(ascii(name)[1:-1] for name in sorted(unknown))
        raise Refused(f"Unknown attribute for argument {argument}: {names}")
    for name, value in data.items():
        attribute = known[name]
        if attribute.read_only:
            raise BadValue(name, value, "Cannot set read only field.")
        if value is None:
            values[name] = None
            continue
        try:
            values[name] = attribute.read(name, value)
        except BadBody as err:
            shown = ascii(data)
            shown = shown if len(shown) <= 2000 else shown[:2000] + "..."
            raise BadValue(argument, shown, str(err)) from None
    return values


def _parse(raw: bytes) -> Any:
    try:
        if raw.count(b"[") + raw.count(b"{") > _DEEPEST and _depth(raw) > _DEEPEST:
            raise Refused("Request is not in valid JSON format: nested too deeply")
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused("Request is not in valid JSON format") from None


def _depth(raw: bytes) -> int:
    """How deep brackets nest in *raw*, those in strings left out."""
    depth = deepest = 0
    quoted = escaped = False
    for byte in raw:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _read_text() -> str:
    try:
        text = request.get_data().decode()
    except UnicodeDecodeError as err:
        raise Refused(f"The body is not UTF-8: {err.reason} at byte {err.start}") from None
    if "\0" in text:
        raise Refused("The body holds a NUL character, which no definition may hold")
    return text


# --- the OpenAPI document ---------------------------------------------------------------------


def _document(
    wrapper: Callable[..., Any],
    status: int,
    schema: Any,
    query: type[Schema] | None,
    body: tuple[str, type[Schema]] | None,
    text: bool,
    short: bool,
    codes: Iterable[int],
) -> None:
    """Leave what flask-smorest needs to describe the operation."""
    parameters: list[dict[str, Any]] = []
    if query is not None:
        parameters.append({"in": "query", "required": False, "schema": query})
    if body is not None:
        parameters.append({"in": "json", "required": True, "schema": body[1]})
    elif text:
        parameters.append(
            {
                "in": "json",
                "required": True,
                "schema": {"type": "string"},
                "content_type": "text/plain",
            }
        )
    responses: dict[int, list[dict[str, Any]]] = {
        status: [
            {
                "description": HTTPStatus(status).phrase,
                "content_type": "application/json" if schema is not None else None,
            }
            | ({"schema": schema} if schema is not None else {})
        ]
    }
    for code in sorted(codes):
        responses[code] = [
            {
                "description": HTTPStatus(code).phrase,
                "schema": ShortFault if short else Fault,
                "content_type": "application/json",
            }
        ]
    wrapper._apidoc = {  # type: ignore[attr-defined]
        "arguments": {"parameters": deepcopy(parameters), "responses": {}},
        "response": {"responses": responses},
        "success_status_codes": [status],
    }


__all__ = ["Blueprint", "Call", "Fault", "Schema", "ShortFault", "Text"]
