"""The OpenAPI document is true: nothing happens that it does not tell."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api import examples, resources

#: Examples of each operation. Enough to meet every refusal; a long run takes more.
EXAMPLES = 12

RESOURCES = {blueprint.name for blueprint in resources.BLUEPRINTS}

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


def _operations(app: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/docs/openapi.json", app)


def test_the_document_is_complete(app: Flask) -> None:
    document = app.test_client().get("/docs/openapi.json").json
    told = {
        (path.replace("{", "<").replace("}", ">"), method.upper())
        for path, operations in document["paths"].items()
        for method in operations
        if method != "parameters"
    }
    served = {
        (str(rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and rule.endpoint.split(".")[0] in RESOURCES
    }
    assert told == served


def test_examples_are_of_their_schemas(app: Flask) -> None:
    schemas = app.test_client().get("/docs/openapi.json").json["components"]["schemas"]
    shown = {name: schema for name, schema in schemas.items() if "example" in schema}
    assert set(shown) == set(examples.SCHEMAS)
    for name, schema in shown.items():
        known = schema["properties"]
        for key, value in schema["example"].items():
            assert key in known, f"{name}.{key}"
            kind = {str: "string", bool: "boolean", int: "integer", list: "array"}.get(type(value))
            if kind and "type" in known[key]:
                assert known[key]["type"] == kind, f"{name}.{key}"


def test_what_the_examples_send_is_taken(app: Flask) -> None:
    client = app.test_client()
    admin = {"X-Roles": "admin"}
    for path, text in examples.TEXTS.items():
        query = "?name=greeting" if "code" in path else ""
        answer = client.post(path + query, data=text, content_type="text/plain", headers=admin)
        assert answer.status_code == 201, answer.text
    for path, name in (
        ("executions", "NewExecution"),
        ("environments", "WrittenEnvironment"),
        ("cron_triggers", "NewCronTrigger"),
    ):
        answer = client.post(f"/v2/{path}", json=examples.SCHEMAS[name])
        assert answer.status_code == 201, answer.text


def test_the_page_needs_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    with client.get("/docs/") as page:
        assert page.status_code == 200
        assert "http" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    with client.get("/docs/rapidoc-min.js") as script:
        assert script.status_code == 200


@pytest.mark.timeout(300)
def test_whatever_is_sent_the_answer_is_one_that_is_told(app: Flask) -> None:
    problems: list[str] = []
    for found in _operations(app).get_all_operations():
        operation = found.ok()
        assert operation is not None
        if operation.path == "/readyz":
            continue  # no worker ticks here, and it says so with 503

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            case.headers["X-Roles"] = "admin"
            case.call_and_validate(checks=CHECKS)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                send()
            except (Exception, BaseExceptionGroup) as err:  # told all at once
                told = [str(each) for each in getattr(err, "exceptions", [err])]
                problems.append(f"{operation.method} {operation.path}: {told}"[:1500])
    assert not problems, "\n\n".join(problems)
