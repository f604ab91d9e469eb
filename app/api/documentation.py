"""The page that shows the OpenAPI document; it needs nothing from the network."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, redirect, request, send_from_directory

STATIC = Path(__file__).parent / "static"
#: What the page may load: only what stands beside it.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'"
)

blp = Blueprint("documentation", __name__, url_prefix="/docs")


@blp.get("/", strict_slashes=True)
def page() -> Response:
    """Show the page."""
    response = send_from_directory(STATIC, "docs.html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blp.get("", strict_slashes=True)
def page_without_slash() -> Response:
    """Go to the page; what it loads stands beside it."""
    return redirect(f"{request.root_url}docs/", 302)  # type: ignore[return-value]


@blp.get("/rapidoc-min.js")
def script() -> Response:
    """Give the page's script."""
    return send_from_directory(STATIC, "rapidoc-min.js", max_age=86400)
