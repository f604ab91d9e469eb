"""Which exception becomes which status, and what an error looks like. One table."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, g, request
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app.broker import BrokerUnavailable
from app.core.errors import CoreError
from app.models.types import dumps
from app.services import errors

log = logging.getLogger(__name__)


class Unauthorized(Exception):
    """Nobody knows who asks."""


class Unsupported(Exception):
    """A body of a kind that is not read."""


class TooLarge(Exception):
    """A body of a size that is not read."""


#: The first class that fits tells the status.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NotFound, 404),
    (errors.Duplicate, 409),
    (errors.NotAllowed, 403),
    (errors.Refused, 400),
    (errors.InMaintenance, 423),
    (errors.Unavailable, 503),
    (CoreError, 400),
    (Unauthorized, 401),
    (Unsupported, 415),
    (TooLarge, 413),
    (BrokerUnavailable, 503),
    # Two requests wanted the same name at the same time and this one came second.
    (IntegrityError, 409),
    (StaleDataError, 409),
    (DataError, 400),
    (OperationalError, 503),
)

#: What is said when the exception's own words are the database's.
_TEXTS: dict[type[Exception], str] = {
    IntegrityError: "Database object already exists",
    StaleDataError: "The object was changed or deleted by another request at the same time.",
    DataError: "A value does not fit the database.",
    OperationalError: "The service is temporarily unavailable",
    BrokerUnavailable: "The service is temporarily unavailable",
}

#: Statuses whose text the clients look for in a header first.
_IN_HEADER = (401, 415, 423)

#: Methods of whole collections that lack the name of the one that is meant.
_MISSING: dict[tuple[str, str], str] = {
    ("PUT", "executions"): "id",
    ("PUT", "tasks"): "id",
    ("PUT", "action_executions"): "id",
    ("PUT", "event_triggers"): "id",
    ("DELETE", "workflows"): "identifier",
    ("DELETE", "workbooks"): "name",
    ("DELETE", "actions"): "identifier",
    ("DELETE", "executions"): "id",
    ("DELETE", "action_executions"): "id",
    ("DELETE", "environments"): "name",
    ("DELETE", "cron_triggers"): "identifier",
    ("DELETE", "event_triggers"): "id",
    ("DELETE", "code_sources"): "identifier",
    ("DELETE", "dynamic_actions"): "identifier",
}


def register(app: Flask) -> None:
    """Answer every exception of *app* in the API's form."""
    for kind, _ in STATUSES:
        app.register_error_handler(kind, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_bug)


def status_of(error: Exception) -> int:
    """The status that *error* becomes."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def answer(error: Exception) -> Response:
    """The response that tells *error*."""
    status = status_of(error)
    text = next((text for kind, text in _TEXTS.items() if isinstance(error, kind)), str(error))
    if status in (409, 503) and isinstance(error, IntegrityError | OperationalError):
        log.warning("request failed in the database", exc_info=error)
    return respond(status, text)


def respond(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """An error of *status* that says *text*, in the form that the endpoint has."""
    body: dict[str, Any] = {"faultstring": text}
    if not g.get("short_errors", False):
        code = "Client" if status < 500 else "Server"
        body = {"faultcode": code, "faultstring": text, "debuginfo": None}
    response = Response(dumps(body), status, content_type="application/json")
    if status in _IN_HEADER:
        response.headers["Server-Error-Message"] = _one_line(text)
    if status == 503:
        response.headers["Retry-After"] = "5"
    if status == 401:
        response.headers["WWW-Authenticate"] = "X-Auth-Token"
    response.headers.update(headers or {})
    return response


def _one_line(text: str) -> str:
    return " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")


def _answer_http(error: HTTPException) -> Response:
    """Errors of routing, and what werkzeug itself refuses."""
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed):
        parts = request.path.strip("/").split("/")
        missing = _MISSING.get((request.method, parts[1])) if len(parts) == 2 else None
        if missing and parts[0] == "v2":
            return respond(400, f'Missing argument: "{missing}"')
        methods = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
        headers["Allow"] = ", ".join(methods)
    return respond(error.code, error.description or error.name, headers)


def _answer_bug(error: Exception) -> Response:
    """Our mistake: the log tells all of it, the caller nothing."""
    log.error("a request failed unexpectedly", exc_info=error)
    return respond(500, "An unknown error occurred")
