"""Event triggers on real buses: each message starts what it should, once, whatever dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis
from sqlalchemy import func, select

from app.models import WorkflowExecution
from app.services import definitions, event_triggers
from app.services.actors import Actor
from app.services.event_sources import STREAM, BadEvent, parse
from app.services.outbox import unit_of_work
from tests.processes import wait_for
from tests.system import System

WORKFLOW = """
version: '2.0'
react:
  input: [greeting]
  tasks:
    t:
      action: std.echo
      input: {output: "<% $.greeting %> <% execution().params.event_params.who %>"}
"""
DEFINITIONS = """
- event_types: ["person.*"]
  properties:
    who: <% $.payload.name %>
    where: <% $.publisher %>
"""
BURST = 1000
Send = Callable[..., None]


@pytest.fixture(params=["redis", "amqp"])
def bus(request: pytest.FixtureRequest, clean_redis_url: str) -> str:
    """The URL of a bus, of each kind."""
    if request.param == "redis":
        return clean_redis_url
    url: str = request.getfixturevalue("rabbitmq_url")
    return url


@pytest.fixture
def send(bus: str) -> Iterator[Send]:
    """Sends an event to exchange ``people`` and topic ``moves``."""
    if bus.startswith("redis"):
        with redis.Redis.from_url(bus) as client:

            def to_stream(body: Any) -> None:
                client.xadd(STREAM.format("people", "moves"), {"message": _text(body)})

            yield to_stream
        return
    with kombu.Connection(bus) as connection:
        exchange = kombu.Exchange("people", type="topic", durable=True)
        producer = connection.Producer(exchange=exchange, auto_declare=True)

        def to_exchange(body: Any) -> None:
            producer.publish(
                _text(body), routing_key="moves.info", content_type="application/json",
                content_encoding="utf-8",
            )  # fmt: skip

        yield to_exchange


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


@pytest.fixture
def whole(tmp_path: Path, postgresql_url: str, clean_redis_url: str, bus: str) -> Iterator[System]:
    """An installation that listens to the bus, with a trigger."""
    path = tmp_path / "events.yaml"
    path.write_text(DEFINITIONS)
    system = System(
        tmp_path,
        database_url=postgresql_url,
        redis_url=clean_redis_url,
        CELERIAC_EVENT_BUS_URL=bus,
        CELERIAC_EVENT_DEFINITIONS=str(path),
    )
    with unit_of_work(system.platform.database, system.platform.broker) as session:
        [workflow] = definitions.create_workflows(session, Actor(), text=WORKFLOW)
        event_triggers.create(
            session,
            Actor(),
            {
                "name": "greet",
                "exchange": "people",
                "topic": "moves",
                "event": "person.arrived",
                "workflow_id": workflow.id,
                "workflow_input": {"greeting": "hello"},
            },
        )
    try:
        yield system
    finally:
        system.stop()


def _executions(system: System) -> int:
    with system.platform.database.read() as session:
        return session.scalar(select(func.count()).select_from(WorkflowExecution)) or 0


def _arrived(number: int) -> dict[str, Any]:
    return {
        "event_type": "person.arrived",
        "message_id": f"m{number}",
        "publisher": "door",
        "payload": {"name": f"n{number}"},
    }


def _listening(whole: System, send: Send) -> None:
    """Return when messages reach the event engine, which takes a moment to know its sources."""
    before = _executions(whole)

    def came() -> bool:
        send({**_arrived(0), "message_id": "first"})
        return _executions(whole) > before

    wait_for(came, seconds=60, what=whole.logs)


def test_a_message_starts_a_workflow_with_what_it_tells(whole: System, send: Send) -> None:
    whole.start("notifier", "engine")
    _listening(whole, send)
    send("this is no event")
    send({"event_type": "person.left", "payload": {"name": "nobody"}})
    send({"oslo.version": "2.0", "oslo.message": json.dumps(_arrived(7))})
    wait_for(lambda: _executions(whole) == 2, seconds=60, what=whole.logs)
    with whole.platform.database.read() as session:
        rows = session.scalars(
            select(WorkflowExecution).order_by(WorkflowExecution.created_at)
        ).all()
        assert rows[1].params["event_params"] == {"who": "n7", "where": "door"}
        assert json.loads(rows[1].description)["triggered_by"]["name"] == "greet"
    whole.finished(rows[1].id)
    assert "no event, from people/moves" in whole.logs()


def test_a_burst_starts_each_once_although_the_event_engine_is_killed(
    whole: System, send: Send
) -> None:
    whole.start("notifier")
    _listening(whole, send)
    for number in range(1, BURST + 1):
        send(_arrived(number))
        if number % 10 == 0:
            send(_arrived(number))  # Senders repeat themselves, too.
        if number == BURST // 2:
            whole.kill("notifier")
    whole.start("notifier")
    # What the killed one had in hand comes back after a while.
    wait_for(lambda: _executions(whole) == BURST + 1, seconds=90, what=whole.logs)
    send({**_arrived(BURST + 1), "message_id": "last"})
    wait_for(lambda: _executions(whole) == BURST + 2, seconds=60, what=whole.logs)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "expected JSON"),
        ("[1]", "expected a JSON object, got list"),
        ('{"payload": 1}', "expected an object with event_type"),
        ('{"event_type": 5}', "expected an object with event_type"),
        ('{"oslo.message": "no"}', "expected JSON"),
    ],
)
def test_what_is_no_event_says_why(body: str, told: str) -> None:
    with pytest.raises(BadEvent, match=told):
        parse("people", "moves", body)


def test_openstack_names_the_context_in_its_own_way() -> None:
    body = {"event_type": "e", "publisher_id": "p", "_context_tenant": "t", "_context_user": "u"}
    event = parse("nova", "notifications", json.dumps(body), id="5")
    assert (event.publisher, event.id) == ("p", "5")
    assert event.context["project_id"] == "t"
    assert event.context["user_id"] == "u"
