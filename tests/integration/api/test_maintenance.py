"""Pausing the whole installation, and resuming it."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

ADMIN = {"X-Roles": "admin"}
TEXT = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n"


def put(client: FlaskClient, path: str, body: Any, headers: Any = None) -> Any:
    return client.put(path, data=json.dumps(body), content_type="application/json", headers=headers)


def start(client: FlaskClient) -> Any:
    return client.post(
        "/v2/executions", data='{"workflow_name": "w"}', content_type="application/json"
    )


def state(client: FlaskClient, id: str) -> str:
    return str(client.get(f"/v2/executions/{id}").json["state"])


def test_executions_are_paused_and_resumed_but_not_those_that_users_paused(app: Flask) -> None:
    client = app.test_client()
    client.post("/v2/workflows", data=TEXT)
    ours, theirs = (start(client).json["id"] for _ in range(2))
    assert put(client, f"/v2/executions/{theirs}", {"state": "PAUSED"}).status_code == 200

    assert put(client, "/maintenance", {"status": "PAUSED"}).status_code == 403
    answer = put(client, "/maintenance", {"status": "PAUSED"}, ADMIN)
    assert (answer.status_code, answer.json) == (200, {"status": "PAUSING"})
    refused = start(client)
    assert refused.status_code == 423
    text = "Current Mistral state is PAUSING. Method is not allowed"
    assert refused.headers["Server-Error-Message"] == text
    assert client.get("/v2/workflows").status_code == 200

    # Nothing runs an action, so the first look finds all at rest.
    assert client.get("/maintenance").json == {"status": "PAUSED"}
    assert state(client, ours) == "PAUSED"
    assert start(client).status_code == 423
    cancelled = put(client, f"/v2/executions/{theirs}", {"state": "RUNNING"})
    assert cancelled.status_code == 423

    assert put(client, "/maintenance", {"status": "RUNNING"}, ADMIN).json == {"status": "RUNNING"}
    assert client.get("/maintenance").json == {"status": "RUNNING"}
    assert state(client, ours) == "RUNNING"
    assert state(client, theirs) == "PAUSED"
    assert start(client).status_code == 201


def test_a_state_that_cannot_be_asked_for(client: FlaskClient) -> None:
    for wanted in ("PAUSING", "ASLEEP", None):
        answer = put(client, "/maintenance", {"status": wanted}, ADMIN)
        assert answer.status_code == 400
        assert "state" in answer.json["faultstring"]
