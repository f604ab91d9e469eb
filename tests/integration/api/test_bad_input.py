"""Bad input of each kind gets a clear answer, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.models import WorkflowDefinition

WORKFLOW = "version: '2.0'\nw:\n  input: [a]\n  tasks: {t: {action: std.noop}}\n"


def post(client: FlaskClient, path: str, body: Any) -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(path, data=data, content_type="application/json")


@pytest.mark.parametrize(
    "text, status",
    [
        pytest.param(b"\xff\xfe", 400, id="not UTF-8"),
        pytest.param(b"a: [", 400, id="not YAML"),
        pytest.param(b"version: '2.0'\nw: \0", 400, id="NUL"),
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"version: '2.0'\nw: &a [*a, *a]\n", 400, id="aliases"),
        pytest.param(b"[" * 50_000, 400, id="deep"),
        pytest.param(b"version: '2.0'\nw: " + b"x" * 10_000_000, 400, id="10 MB"),
        pytest.param(b"x" * 17_000_000, 413, id="larger than any body may be"),
    ],
)
@pytest.mark.parametrize("path", ["workflows", "workbooks", "actions"])
def test_a_definition_that_cannot_be_read(
    client: FlaskClient, path: str, text: bytes, status: int
) -> None:
    answer = client.post(f"/v2/{path}", data=text, content_type="text/plain")
    assert answer.status_code == status, answer.text
    assert set(answer.json) == {"faultstring"}
    assert answer.json["faultstring"]
    assert client.get("/v2/workflows").json == {"workflows": []}


@pytest.mark.parametrize(
    "body, text",
    [
        ("{not json", "Request is not in valid JSON format"),
        (b"\xff", "Request is not in valid JSON format"),
        ("", 'Missing argument: "wf_ex"'),
        ("[1]", "Expected a JSON object, got a list"),
        ("5", "Expected a JSON object, got a number"),
        ("[" * 100_000, "Request is not in valid JSON format"),
        ({"workflow_name": "w", "surprise": 1}, "Unknown attribute for argument wf_ex: surprise"),
        ({"workflow_name": 5}, "Invalid input for field/attribute workflow_name. Value: '5'."),
        ({"workflow_name": "w\0"}, "Not a text that can be stored"),
        ({"workflow_name": "\ud800"}, "Not a text that can be stored"),
        ({"workflow_name": "w", "input": [1]}, "the JSON object must be str, bytes or bytearray"),
        ({"workflow_name": "w", "input": "[1]"}, "JsonType field value must be a dictionary"),
        ({"workflow_name": "w", "input": "{"}, "Expecting property name"),
        ({"workflow_name": "w", "project_id": "x"}, "Cannot set read only field."),
        ({"workflow_name": "w", "id": "x" * 37}, "longer than 36 characters"),
        ({}, "Workflow ID or workflow name must be provided."),
    ],
)
def test_an_execution_that_cannot_be_read(client: FlaskClient, body: Any, text: str) -> None:
    answer = post(client, "/v2/executions", body)
    assert answer.status_code == 400
    assert answer.json["faultcode"] == "Client"
    assert answer.json["debuginfo"] is None
    assert text in answer.json["faultstring"]
    assert client.get("/v2/executions").json == {"executions": []}


def test_strange_values_inside_an_input_are_kept(client: FlaskClient) -> None:
    client.post("/v2/workflows", data=WORKFLOW)
    for value in ("a\0b", "\ud800", 10**40, "\u2028", {"": None}):
        answer = post(client, "/v2/executions", {"workflow_name": "w", "input": {"a": value}})
        assert answer.status_code == 201, answer.text
        shown = client.get(f"/v2/executions/{answer.json['id']}").json
        assert json.loads(shown["input"]) == {"a": value}


@pytest.mark.parametrize(
    "query, text",
    [
        ("limit=0", "Limit must be positive."),
        ("limit=-1", "Limit must be positive."),
        ("limit=abc", "unable to convert to int"),
        ("marker=x", "Expected a uuid but received x."),
        ("sort_keys=nothing", "Sort key supplied is invalid: nothing"),
        ("sort_keys=name&sort_dirs=up", "Unknown sort direction"),
        ("sort_keys=name&sort_dirs=asc,asc", "Length of sort_keys"),
        ("fields=colour", "Some fields do not exist  [colour]"),
        ("colour=red&size=1", 'Unknown argument: "colour, size"'),
        ("created_at=gt:yesterday", "Expected a date and time"),
        ("name=a%00b", "Not a text that can be stored"),
    ],
)
def test_a_list_that_cannot_be_given(client: FlaskClient, query: str, text: str) -> None:
    answer = client.get(f"/v2/workflows?{query}")
    assert answer.status_code == 400
    assert text in answer.json["faultstring"]


def test_absurd_limits_are_clamped(client: FlaskClient) -> None:
    assert client.get(f"/v2/workflows?limit={10**30}").status_code == 200
    assert client.get("/v2/tasks?limit=" + "9" * 5000).status_code == 400


@pytest.mark.parametrize("kind", ["text/xml", "application/xml", "application/atom+xml"])
def test_xml_is_refused_before_anything_else(client: FlaskClient, kind: str) -> None:
    answer = client.post("/v2/workflows", data="<a/>", content_type=kind)
    assert answer.status_code == 415
    assert answer.headers["Server-Error-Message"] == "XML request bodies are not supported."


def test_methods_and_paths_that_do_not_exist(client: FlaskClient) -> None:
    assert client.head("/v2/workflows").status_code == 405
    assert client.patch("/v2/workflows").status_code == 405
    assert client.options("/v2/workflows").status_code == 200
    for path in ("/v1", "/v2/services", "/v2/workflows/a/b/c"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json["faultstring"]
    answer = client.delete("/v2/executions")
    assert (answer.status_code, answer.json["faultstring"]) == (400, 'Missing argument: "id"')


def test_a_failure_inside_tells_nothing(client: FlaskClient, app: Any) -> None:
    platform = app.extensions["celeriac"].platform
    with platform.database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"DROP TABLE {WorkflowDefinition.__tablename__} CASCADE"
            if platform.database.engine.dialect.name == "postgresql"
            else f"DROP TABLE {WorkflowDefinition.__tablename__}"
        )
    answer = client.get("/v2/workflows")
    assert answer.status_code >= 500
    assert "workflow_definitions" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", ["my wf", "n" * 256])
@pytest.mark.parametrize(
    "path, text",
    [
        ("workflows", "version: '2.0'\n{}: {{tasks: {{t: {{action: std.noop}}}}}}\n"),
        ("actions", "version: '2.0'\n{}: {{base: std.noop}}\n"),
        ("workbooks", "version: '2.0'\nname: {}\n"),
    ],
)
def test_a_name_that_cannot_be_stored(client: FlaskClient, path: str, text: str, name: str) -> None:
    document = text.format(name)
    answer = client.post(f"/v2/{path}", data=document, content_type="text/plain")
    assert answer.status_code == 400, answer.text
    assert "name" in answer.json["faultstring"].lower()
    assert client.post(f"/v2/{path}/validate", data=document).json["valid"]
