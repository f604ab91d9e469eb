"""``/ui/``: the files of the web page, and ``/ui/check``, which looks at a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, request, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from app.core.errors import InvalidDefinition, Problem
from app.core.language import TaskSpec, WorkflowSpec, parse_workbook, parse_workflows

STATIC = Path(__file__).parent / "static"

#: Everything comes from here, nothing is inline, nobody frames the page.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("web", __name__, url_prefix="/ui")


@blueprint.after_request
def guard(response: AnyResponse) -> AnyResponse:
    """Tell the browser what the page may do."""
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/", strict_slashes=True)
def page() -> Response:
    """The page itself; without the slash it redirects, for the addresses in the page."""
    return send_from_directory(STATIC, "index.html")


@blueprint.get("/<path:name>")
def file(name: str) -> Response:
    """A file of the page."""
    return send_from_directory(STATIC, name)


@blueprint.post("/check")
def check() -> dict[str, Any]:
    """What is wrong in the posted definition, and the graphs of its workflows."""
    current_app.extensions["celeriac"].authenticate(request)
    return checked(request.get_data(as_text=True))


_WORKBOOK = re.compile(r"^(workflows|actions)\s*:", re.MULTILINE)
_CLAUSES = (
    ("on-success", "on_success"),
    ("on-error", "on_error"),
    ("on-complete", "on_complete"),
    ("on-skip", "on_skip"),
)


def checked(text: str) -> dict[str, Any]:
    """``problems`` with their places, and ``workflows`` with their tasks and the ways between."""
    workflows: Iterable[WorkflowSpec] = ()
    problems: Sequence[Problem]
    try:
        if _WORKBOOK.search(text):
            workbook = parse_workbook(text, lint=True)
            workflows, problems = workbook.spec.workflows.values(), workbook.warnings
        else:
            found = parse_workflows(text, lint=True)
            workflows, problems = found.workflows, found.warnings
    except InvalidDefinition as err:
        problems = err.problems
    return {
        "problems": [
            {
                "severity": each.severity,
                "message": each.message,
                "line": each.line,
                "column": each.column,
                "hint": each.hint,
            }
            for each in sorted(problems, key=lambda each: (each.line or 0, each.column or 0))
        ],
        "workflows": [_workflow(each) for each in workflows],
    }


def _workflow(spec: WorkflowSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "input": [
            {"name": each.name, "required": each.required, "default": each.default}
            for each in spec.input
        ],
        "tasks": [
            {"name": task.name, "what": _what(task), "join": task.join}
            for task in spec.tasks.values()
        ],
        "edges": _edges(spec),
    }


def _what(task: TaskSpec) -> str:
    """What a task does, in a word or two."""
    what = task.workflow or task.action or "std.noop"
    return f"{what} for each" if task.with_items else what


def _edges(spec: WorkflowSpec) -> list[dict[str, str]]:
    edges = [
        {"from": task.name, "to": transition.target, "kind": kind}
        for task in spec.tasks.values()
        for kind, attribute in _CLAUSES
        for transition in getattr(task, attribute).transitions
        if transition.target in spec.tasks
    ]
    edges += [
        {"from": required, "to": task.name, "kind": "requires"}
        for task in spec.tasks.values()
        for required in task.requires
    ]
    return edges
