"""Who may do what to whose."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.integration.api.conftest import Make

WORKFLOW = "version: '2.0'\n{name}: {{tasks: {{t: {{action: std.noop}}}}}}\n"
ACTION = "version: '2.0'\nact: {base: std.noop}\n"
WORKBOOK = "version: '2.0'\nname: book\nactions:\n  a: {base: std.noop}\n"


def _line(token: str, project: str, roles: str) -> str:
    return f"{hashlib.sha256(token.encode()).hexdigest()} {project} {roles}"


TOKENS = "\n".join(
    [_line("A", "alpha", "member"), _line("B", "beta", "member"), _line("R", "alpha", "reader"),
     _line("X", "ops", "admin")]
)  # fmt: skip


class Caller:
    """Somebody with a token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        self.headers = {"X-Auth-Token": token}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        headers = dict(self.headers)
        if isinstance(body, dict):
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        return self.client.open(f"/v2{path}", method=method, data=body, headers=headers)


@pytest.fixture
def callers(make_app: Make) -> dict[str, Caller]:
    app = make_app(auth_mode="token", auth_tokens=TOKENS)
    return {token: Caller(app.test_client(), token) for token in "ABRX"}


def test_nobody_is_let_in_without_a_token(make_app: Make) -> None:
    client = make_app(auth_mode="token", auth_tokens=TOKENS).test_client()
    answer = client.get("/v2/workflows", headers={"X-Roles": "admin", "X-Project-Id": "alpha"})
    assert answer.status_code == 401
    assert "Authentication required" in answer.headers["Server-Error-Message"]
    answer = client.get("/v2/workflows", headers={"X-Auth-Token": "wrong"})
    assert answer.status_code == 401
    assert client.get("/v2/").status_code == 200
    bearer = client.get("/v2/workflows", headers={"Authorization": "Bearer A"})
    assert bearer.status_code == 200


def test_without_authentication_only_this_machine_is_served(make_app: Make) -> None:
    far = {"REMOTE_ADDR": "192.0.2.7"}
    client = make_app().test_client()
    assert client.get("/v2/workflows", environ_overrides=far).status_code == 401
    assert client.get("/v2/workflows").status_code == 200
    assert (
        client.post("/v2/workflows?scope=public", data=WORKFLOW.format(name="w")).status_code == 403
    )
    admin = {"X-Roles": "admin"}
    assert (
        client.post(
            "/v2/workflows?scope=public", data=WORKFLOW.format(name="w"), headers=admin
        ).status_code
        == 201
    )
    open_client = make_app(insecure=True).test_client()
    assert open_client.get("/v2/workflows", environ_overrides=far).status_code == 200


def test_private_things_are_invisible_to_others(callers: dict[str, Caller]) -> None:
    a, b = callers["A"], callers["B"]
    assert a("POST", "/workflows", WORKFLOW.format(name="w")).status_code == 201
    assert a("POST", "/environments", {"name": "e", "variables": {}}).status_code == 201
    for path in ("/workflows/w", "/environments/e"):
        assert a("GET", path).status_code == 200
        assert b("GET", path).status_code == 404
        assert b("DELETE", path).status_code == 404
    assert b("GET", "/workflows").json == {"workflows": []}
    assert b("POST", "/workflows", WORKFLOW.format(name="w")).status_code == 201
    assert b("POST", "/executions", {"workflow_name": "w"}).status_code == 201
    assert a("GET", "/executions").json == {"executions": []}
    assert len(callers["X"]("GET", "/executions").json["executions"]) == 1


def test_an_execution_of_others_is_not_given_by_its_id(callers: dict[str, Caller]) -> None:
    a, b = callers["A"], callers["B"]
    a("POST", "/workflows", WORKFLOW.format(name="w"))
    b("POST", "/workflows", WORKFLOW.format(name="w"))
    body = {"workflow_name": "w", "id": "11111111-1111-1111-1111-111111111111"}
    assert a("POST", "/executions", body).status_code == 201
    assert a("POST", "/executions", body).status_code == 201
    assert len(a("GET", "/executions").json["executions"]) == 1
    assert b("POST", "/executions", body).status_code == 404


def test_public_things_are_seen_but_not_changed_by_others(callers: dict[str, Caller]) -> None:
    x, b = callers["X"], callers["B"]
    assert x("POST", "/workflows?scope=public", WORKFLOW.format(name="w")).status_code == 201
    assert x("POST", "/actions?scope=public", ACTION).status_code == 201
    assert x("POST", "/workbooks?scope=public", WORKBOOK).status_code == 201
    env = {"name": "e", "variables": {}, "scope": "public"}
    assert x("POST", "/environments", env).status_code == 201
    for path in ("/workflows/w", "/actions/act", "/workbooks/book", "/environments/e"):
        assert b("GET", path).status_code == 200, path
        assert b("DELETE", path).status_code == 403, path
    assert b("PUT", "/workflows", WORKFLOW.format(name="w")).status_code == 403
    assert b("PUT", "/actions", ACTION).status_code == 403
    assert b("PUT", "/workbooks", WORKBOOK).status_code == 403
    assert b("PUT", "/environments", {"name": "e", "variables": {"x": 1}}).status_code == 403
    assert b("PUT", "/maintenance".replace("/", "/../", 1), {}).status_code in (403, 404)
    answer = b.client.put(
        "/maintenance",
        data='{"status": "PAUSED"}',
        headers=b.headers,
        content_type="application/json",
    )
    assert answer.status_code == 403


def test_only_administrators_publish(callers: dict[str, Caller]) -> None:
    a = callers["A"]
    assert a("POST", "/workflows?scope=public", WORKFLOW.format(name="w")).status_code == 403
    assert a("POST", "/workflows", WORKFLOW.format(name="w")).status_code == 201
    assert a("PUT", "/workflows?scope=public", WORKFLOW.format(name="w")).status_code == 403
    assert a("POST", "/code_sources?name=c", "x = 1").status_code == 403
    assert a("GET", "/workflows?all_projects=true").status_code == 403
    assert a("GET", "/workflows?all_projects=false").status_code == 200


def test_a_reader_looks_and_does_not_touch(callers: dict[str, Caller]) -> None:
    callers["A"]("POST", "/workflows", WORKFLOW.format(name="w"))
    reader = callers["R"]
    assert reader("GET", "/workflows/w").status_code == 200
    assert reader("DELETE", "/workflows/w").status_code == 403
    assert reader("POST", "/executions", {"workflow_name": "w"}).status_code == 403


def test_a_workflow_is_shared_offered_and_accepted(callers: dict[str, Caller]) -> None:
    a, b = callers["A"], callers["B"]
    made = a("POST", "/workflows", WORKFLOW.format(name="w")).json["workflows"][0]
    members = f"/workflows/{made['id']}/members"
    offer = a("POST", members, {"member_id": "beta"})
    assert (offer.status_code, offer.json["status"]) == (201, "pending")
    assert a("POST", members, {"member_id": "beta"}).status_code == 409
    assert b("GET", "/workflows/w").status_code == 404
    assert a("PUT", f"{members}/beta", {"status": "accepted"}).status_code == 404
    assert b("PUT", f"{members}/beta", {"status": "accepted"}).json["status"] == "accepted"
    assert b("GET", "/workflows/w").status_code == 200
    assert b("DELETE", "/workflows/w").status_code == 403
    assert b("POST", "/executions", {"workflow_name": "w"}).status_code == 201
    assert b("DELETE", f"{members}/beta").status_code == 404
    assert a("DELETE", f"{members}/beta").status_code == 204
    assert b("GET", "/workflows/w").status_code == 404
