"""Many clients want the same names at the same time."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask

TEXT = "version: '2.0'\nw:\n  description: '{n}'\n  tasks: {{t: {{action: std.noop}}}}\n"
CLIENTS = 8


def at_once(app: Flask, calls: list[tuple[str, str, Any]]) -> Counter[int]:
    """Make *calls* from many clients; how often each status came."""

    def call(each: tuple[str, str, Any]) -> int:
        method, path, body = each
        options: dict[str, Any] = {"data": body}
        if isinstance(body, dict):
            options = {"data": json.dumps(body), "content_type": "application/json"}
        answer = app.test_client().open(path, method=method, **options)
        assert answer.status_code < 500, answer.text
        return answer.status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        return Counter(pool.map(call, calls))


def test_one_of_many_creates(app: Flask) -> None:
    text = TEXT.format(n=0)
    statuses = at_once(app, [("POST", "/v2/workflows", text)] * 24)
    assert statuses == {201: 1, 409: 23}
    environment = {"name": "e", "variables": {}}
    assert at_once(app, [("POST", "/v2/environments", environment)] * 24) == {201: 1, 409: 23}


def test_one_of_many_deletes(app: Flask) -> None:
    app.test_client().post("/v2/workflows", data=TEXT.format(n=0))
    assert at_once(app, [("DELETE", "/v2/workflows/w", None)] * 16) == {204: 1, 404: 15}


def test_create_update_run_and_delete_the_same_name(app: Flask) -> None:
    calls: list[tuple[str, str, Any]] = []
    for number in range(20):
        calls += [
            ("POST", "/v2/workflows", TEXT.format(n=number)),
            ("PUT", "/v2/workflows", TEXT.format(n=number)),
            ("POST", "/v2/executions", {"workflow_name": "w"}),
            ("DELETE", "/v2/workflows/w", None),
            ("GET", "/v2/workflows?limit=5", None),
        ]
    statuses = at_once(app, calls)
    assert set(statuses) <= {200, 201, 204, 404, 409}
    assert len(app.test_client().get("/v2/workflows").json["workflows"]) <= 1


def test_an_id_of_ones_own_starts_once(app: Flask) -> None:
    app.test_client().post("/v2/workflows", data=TEXT.format(n=0))
    body = {"workflow_name": "w", "id": "11111111-1111-1111-1111-111111111111"}
    statuses = at_once(app, [("POST", "/v2/executions", body)] * 16)
    assert set(statuses) <= {201, 409}
    assert statuses[201] >= 1
    assert len(app.test_client().get("/v2/executions").json["executions"]) == 1
