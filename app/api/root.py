"""The documents at the root, and whether the service is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import marshmallow as ma
from flask import Response, redirect, request
from flask.views import MethodView

from app.models.types import dumps
from app.services import health
from app.services.errors import Refused

from .blueprint import Blueprint, Call, Schema
from .fields import Attribute, Object, Text

blp = Blueprint("root", __name__, description="What is here, and whether it is well")


class Link(Schema):
    """Where something is."""

    href = Text()
    target = Text()
    rel = Text()


class Version(Schema):
    """A version of the API."""

    id = Text()
    status = Text()
    links = ma.fields.List(ma.fields.Nested(Link))


class Versions(Schema):
    """The versions of the API."""

    versions = ma.fields.List(ma.fields.Nested(Version))


class VersionRoot(Schema):
    """Where version 2 is."""

    uri = Text()


class Health(Schema):
    """Whether the service is well."""

    status = Text("ok, or not ready.")
    problems = Object("What is not right, by part.")


@blp.route("/")
class Root(MethodView):
    @blp.operation(policy=None, returns=(200, Versions), session=False)
    def get(self, call: Call) -> Any:
        """List the versions of the API."""
        link = {"href": f"{request.root_url}v2", "target": "v2", "rel": "self"}
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


@blp.route("/v2/", strict_slashes=True)
class Two(MethodView):
    @blp.operation(policy=None, returns=(200, VersionRoot), session=False)
    def get(self, call: Call) -> Any:
        """Show where version 2 is."""
        return {"uri": f"{request.root_url}v2"}


@blp.route("/v2", strict_slashes=True)
class TwoWithoutSlash(MethodView):
    @blp.operation(policy=None, returns=(302, None), session=False)
    def get(self, call: Call) -> Any:
        """Go to /v2/."""
        return redirect(f"{request.root_url}v2/", 302)


@blp.route("/healthz")
class Alive(MethodView):
    @blp.operation(policy=None, returns=(200, Health), session=False)
    def get(self, call: Call) -> Any:
        """Tell that this process answers."""
        return {"status": "ok", "problems": {}}


@blp.route("/readyz")
class Ready(MethodView):
    @blp.operation(policy=None, returns=(200, Health), session=False, also={503: Health})
    def get(self, call: Call) -> Any:
        """Tell whether all that is needed is there: 503 and the reasons when it is not."""
        problems = health.problems(call.platform)
        body = {"status": "not ready" if problems else "ok", "problems": problems}
        return Response(dumps(body), 503 if problems else 200, content_type="application/json")


class Info(Schema):
    """Whatever the operator has to say."""

    class Meta:
        unknown = ma.INCLUDE

    info = Attribute("Content of the configured file.")


@blp.route("/info")
class InfoFile(MethodView):
    @blp.operation(policy=None, returns=(200, Info), session=False, short_errors=True)
    def get(self, call: Call) -> Any:
        """Show the JSON file that the operator has put up."""
        path = call.platform.config.info_file
        if not path:
            raise Refused("Info endpoint disabled.")
        try:
            return json.loads(Path(path).read_text())
        except (OSError, ValueError):
            raise Refused("Incorrect path to info json file.") from None
