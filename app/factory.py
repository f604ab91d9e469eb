"""Puts the web application together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import flask_smorest
from flask import Flask, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from app.api import documentation, errors, examples, resources
from app.api.errors import Unsupported
from app.api.identity import Authenticate, authentication
from app.config import Config
from app.services.live import Streams
from app.services.platform import Platform
from app.web import pages

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: What the OpenAPI document says of the whole.
_DOCUMENT = {
    "API_TITLE": "Celeriac",
    "API_VERSION": "v2",
    "OPENAPI_VERSION": "3.0.3",
    "OPENAPI_URL_PREFIX": "/docs",
    "OPENAPI_JSON_PATH": "openapi.json",
}


@dataclass(frozen=True, slots=True)
class Celeriac:
    """What the views of one application work with."""

    platform: Platform
    authenticate: Authenticate
    streams: Streams


def create_app(config: Config, *, platform: Platform | None = None) -> Flask:
    """The WSGI application that *config* describes. Opens no connection."""
    authenticate = authentication(config)
    app = Flask(__name__, static_folder=None)
    platform = platform or Platform.from_config(config)
    streams = Streams(platform.database, most=config.max_streams)
    app.extensions["celeriac"] = Celeriac(platform, authenticate, streams)
    app.config.update(_DOCUMENT, MAX_CONTENT_LENGTH=config.max_body_bytes)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.wsgi_app = _behind(app.wsgi_app, config.trusted_proxies)  # type: ignore[method-assign]
    app.before_request(_refuse_what_is_never_served)
    if config.cors_origins:
        app.after_request(_cross_origin(frozenset(config.cors_origins)))
    api = flask_smorest.Api(app, spec_kwargs=resources.DOCUMENT)
    # No operation answers in flask-smorest's own form of errors.
    api.DEFAULT_ERROR_RESPONSE_NAME = None
    errors.register(app)
    for blueprint in resources.BLUEPRINTS:
        api.register_blueprint(blueprint)
    examples.show(api.spec)
    app.register_blueprint(documentation.blp)
    app.register_blueprint(pages.blueprint)
    return app


def _behind(serve: WSGIApplication, proxies: Collection[str]) -> WSGIApplication:
    """The same behind *proxies*: links have the scheme by which the outermost was asked.

    Who calls is the proxy still: without authentication only this machine is answered.
    """
    forwarded = ProxyFix(serve, x_for=0, x_proto=1)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        known = "*" in proxies or environ.get("REMOTE_ADDR") in proxies
        if known and "HTTP_X_FORWARDED_PROTO" in environ:
            return forwarded(environ, start_response)
        return serve(environ, start_response)

    return answer


def _refuse_what_is_never_served() -> Response | None:
    if request.method == "HEAD":
        raise MethodNotAllowed
    kind = request.mimetype
    if kind in ("text/xml", "application/xml") or kind.endswith("+xml"):
        raise Unsupported("XML request bodies are not supported.")
    return None


_METHODS = "GET, PUT, POST, DELETE, PATCH"
_EXPOSED = (
    "X-Auth-Token, X-Subject-Token, X-Service-Token, X-Project-Id, X-User-Name, X-Project-Name"
)


def _cross_origin(origins: frozenset[str]):  # type: ignore[no-untyped-def]
    """Headers for browsers that call from one of *origins*."""

    def add(response: Response) -> Response:
        origin = _header(request.headers, "Origin")
        response.headers.add("Vary", "Origin")
        if origin and (origin in origins or "*" in origins):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = _METHODS
                response.headers["Access-Control-Allow-Headers"] = _header(
                    request.headers, "Access-Control-Request-Headers"
                )
        return response

    return add


def _header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "")


__all__ = ["Celeriac", "Request", "create_app"]
