"""Starting the same workflow again and again: nothing is read, and nothing out of date is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text

from app.broker import ENGINE_QUEUE
from tests.processes import wait_for

ADMIN = {"X-Roles": "admin"}
TEXT = "version: '2.0'\nw: {{input: [a: {default}], tasks: {{t: {{action: std.noop}}}}}}\n"


def define(client: FlaskClient, default: int, *, method: str = "POST", namespace: str = "") -> str:
    answer = client.open(
        f"/v2/workflows?namespace={namespace}", method=method, data=TEXT.format(default=default)
    )
    assert answer.status_code < 300, answer.json
    return str(answer.json["workflows"][0]["id"])


def start(client: FlaskClient, workflow: str = "w", **more: Any) -> Any:
    body = {"workflow_name": workflow, **more}
    return client.post("/v2/executions", data=json.dumps(body), content_type="application/json")


def default_of(answer: Any) -> int:
    """The value of the definition that was started."""
    assert answer.status_code == 201, answer.json
    return int(json.loads(answer.json["input"])["a"])


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@contextmanager
def queries(app: Flask) -> Iterator[list[str]]:
    """What SQLAlchemy sends meanwhile."""
    seen: list[str] = []
    engine = app.extensions["celeriac"].platform.database.engine

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    def note_commit(conn: Any) -> None:
        seen.append("COMMIT")

    event.listen(engine, "before_cursor_execute", note)
    event.listen(engine, "commit", note_commit)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
        event.remove(engine, "commit", note_commit)


def test_a_second_start_reads_no_definition(app: Flask, client: FlaskClient) -> None:
    define(client, 1)
    with queries(app) as first:
        assert default_of(start(client)) == 1
    assert any("FROM workflow_definitions" in each for each in first)
    with queries(app) as second:
        assert default_of(start(client)) == 1
    reads = [each for each in second if each.lstrip().startswith("SELECT") and "EXISTS" not in each]
    assert reads == []


def test_a_definition_that_was_updated_counts_at_once(client: FlaskClient) -> None:
    define(client, 1)
    assert default_of(start(client)) == 1
    define(client, 2, method="PUT")
    assert default_of(start(client)) == 2
    assert default_of(start(client)) == 2


def test_a_definition_that_was_replaced_or_deleted(client: FlaskClient) -> None:
    first = define(client, 1)
    assert default_of(start(client)) == default_of(start(client, first)) == 1
    assert client.delete("/v2/workflows/w").status_code == 204
    for name in ("w", first):
        assert start(client, name).status_code == 404
    second = define(client, 3)
    assert start(client).json["workflow_id"] == second
    assert start(client, first).status_code == 404


def test_names_are_remembered_with_their_namespace(client: FlaskClient) -> None:
    define(client, 1)
    define(client, 2, namespace="n")
    for _ in range(2):
        assert default_of(start(client)) == 1
        assert default_of(start(client, workflow_namespace="n")) == 2


def test_an_id_given_twice_starts_one_execution(client: FlaskClient) -> None:
    define(client, 1)
    start(client)
    chosen = str(uuid4())
    first = start(client, id=chosen, input={"a": 5})
    second = start(client, id=chosen, input={"a": 6})
    assert (default_of(first), default_of(second)) == (5, 5)
    assert first.json["id"] == second.json["id"] == chosen
    assert len(client.get("/v2/executions").json["executions"]) == 2


def test_a_wrong_input_is_refused_again_and_again(client: FlaskClient) -> None:
    define(client, 1)
    for _ in range(3):
        answer = start(client, input={"b": 1})
        assert answer.status_code == 400
        assert "unexpected" in answer.json["faultstring"].lower()
        assert default_of(start(client)) == 1


@pytest.mark.parametrize("env", ["", "nowhere", 5])
def test_an_environment_that_is_none_is_refused_again_and_again(
    client: FlaskClient, env: Any
) -> None:
    define(client, 1)
    said = set()
    for _ in range(2):
        answer = start(client, params={"env": env})
        assert answer.status_code == 400
        said.add(answer.json["faultstring"])
        assert default_of(start(client, params={"env": {"x": 1}})) == 1
    assert len(said) == 1


def test_nothing_is_started_during_maintenance(client: FlaskClient) -> None:
    def ask(status: str) -> Any:
        return client.put(
            "/maintenance",
            data=json.dumps({"status": status}),
            headers=ADMIN,
            content_type="application/json",
        )

    define(client, 1)
    for _ in range(2):
        assert default_of(start(client)) == 1
        assert ask("PAUSED").status_code == 200
        for _ in range(2):
            assert start(client).status_code == 423
        assert ask("RUNNING").status_code == 200
        # Asking for what is so already changes nothing.
        assert ask("RUNNING").json == {"status": "RUNNING"}
        assert client.get("/maintenance").json == {"status": "RUNNING"}


def test_starts_that_come_together_are_one_transaction(app: Flask, client: FlaskClient) -> None:
    define(client, 1)
    define(client, 2, namespace="n")
    chosen = str(uuid4())
    assert default_of(start(client)) == 1
    assert default_of(start(client, workflow_namespace="n")) == 2
    wanted = [{"input": {"a": 10}}, {"workflow_namespace": "n"}, {"id": chosen}]
    with queries(app) as seen:
        answers = started_together(app, wanted)
    assert [default_of(each) for each in answers] == [10, 2, 1]
    assert answers[2].json["id"] == chosen
    assert seen.count("COMMIT") == 1
    with redis.Redis.from_url(app.extensions["celeriac"].platform.broker.url) as broker:
        assert broker.llen(ENGINE_QUEUE) == 5


def test_one_that_cannot_be_started_spoils_no_other(app: Flask, client: FlaskClient) -> None:
    define(client, 1)
    define(client, 2, namespace="n")
    known = start(client).json["id"]
    start(client, workflow_namespace="n")
    with app.extensions["celeriac"].platform.database.sessions() as session, session.begin():
        session.execute(text("DELETE FROM workflow_definitions WHERE namespace = 'n'"))
    wanted = [{"input": {"a": 10}}, {"workflow_namespace": "n"}, {"id": known}, {}]
    answers = started_together(app, wanted)
    assert [each.status_code for each in answers] == [201, 404, 201, 201]
    assert answers[2].json["id"] == known
    assert len(client.get("/v2/executions").json["executions"]) == 4


def started_together(app: Flask, wanted: list[dict[str, Any]]) -> list[Any]:
    """The answers to requests, all of which wait in line before the first is written."""
    line = app.extensions["celeriac"].platform.starts
    line.patience = 30.0
    go = Event()
    with ThreadPoolExecutor(len(wanted) + 1) as threads:
        first = threads.submit(line.add, None, lambda _: go.wait(30))
        try:
            wait_for(lambda: line.busy)
            asked = [threads.submit(start, app.test_client(), **each) for each in wanted]
            wait_for(lambda: line.waiting == len(wanted))
        finally:
            go.set()
        first.result()
        return [each.result() for each in asked]
