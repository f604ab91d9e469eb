"""Publishers that refuse, hang and come back, and notifiers and Redis servers that are killed."""

from __future__ import annotations

import http.server
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.models import LogEvent, Notification
from app.services import executions
from app.services.actors import Actor
from app.services.executions import Wanted
from app.services.outbox import unit_of_work
from tests.processes import wait_for
from tests.servers import redis_server
from tests.servers.redis import Redis
from tests.system import System

BURST = 60
WORKFLOW = """
version: '2.0'
two:
  tasks:
    a: {action: std.noop, on-success: b}
    b: {action: std.noop}
"""


class Receiver:
    """Takes web hooks, when it wants to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: What was taken, by execution: the number of each event and its key, in order of arrival.
        self.taken: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.refusing = False
        #: Requests to /hang wait until this is set.
        self.freed = threading.Event()
        self.hanging = 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/hang":
                    receiver.hanging += 1
                    receiver.freed.wait(60)
                with receiver.lock:
                    if not receiver.refusing:
                        number = int(self.headers["X-Celeriac-Sequence"])
                        key = self.headers["Idempotency-Key"]
                        receiver.taken[self.headers["X-Celeriac-Execution"]].append((number, key))
                self.send_response(503 if receiver.refusing else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hook(self, path: str = "/") -> dict[str, Any]:
        """A publisher that tells this receiver."""
        return {"type": "webhook", "url": f"http://127.0.0.1:{self.server.server_port}{path}"}

    def close(self) -> None:
        self.freed.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def broker() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def whole(tmp_path: Path, postgresql_url: str, broker: Redis) -> Iterator[System]:
    system = System(
        tmp_path,
        database_url=postgresql_url,
        redis_url=broker.url,
        CELERIAC_HTTP_DENIED_NETWORKS="169.254.0.0/16",
        CELERIAC_NOTIFY_LEASE_SECONDS="6",
    )
    system.define(WORKFLOW)
    try:
        yield system
    finally:
        system.stop()


def start(whole: System, *hooks: dict[str, Any]) -> str:
    with unit_of_work(whole.platform.database, whole.platform.broker) as session:
        return executions.create(
            session, whole.platform, Actor(), Wanted(workflow="two", params={"notify": list(hooks)})
        ).id


def pending(whole: System) -> int:
    with whole.platform.database.read() as session:
        return session.scalar(select(func.count()).select_from(Notification)) or 0


@pytest.mark.timeout(180)
def test_a_burst_is_told_in_order_whatever_is_killed(
    whole: System, receiver: Receiver, broker: Redis
) -> None:
    # Without beat: the engine ticks in its place.
    whole.start("engine", "notifier")
    ids = [start(whole, receiver.hook()) for _ in range(BURST // 2)]
    wait_for(lambda: receiver.taken, seconds=60, what=whole.logs)
    receiver.refusing = True
    whole.kill("notifier")
    ids += [start(whole, receiver.hook()) for _ in range(BURST // 2)]
    whole.start("notifier")
    broker.kill()
    receiver.refusing = False
    broker.start()
    whole.finished(*ids, seconds=90)
    wait_for(lambda: pending(whole) == 0, seconds=90, what=whole.logs)
    with whole.platform.database.read() as session:
        rows = session.execute(
            select(LogEvent.workflow_execution_id, LogEvent.number).order_by(LogEvent.number)
        ).all()
    happened: dict[str, list[int]] = defaultdict(list)
    for execution_id, number in rows:
        happened[execution_id].append(number)
    assert set(happened) == set(ids)
    for execution_id in ids:
        # What was told twice has the same key; without repetitions all is there, in order.
        told = dict.fromkeys(receiver.taken[execution_id])
        assert [number for number, _ in told] == happened[execution_id]
        assert len({key for _, key in told}) == len(told)


@pytest.mark.timeout(120)
def test_a_publisher_that_hangs_holds_up_only_itself(whole: System, receiver: Receiver) -> None:
    whole.start("engine", "notifier", "beat")
    stuck = start(whole, receiver.hook("/hang"))
    wait_for(lambda: receiver.hanging, seconds=60, what=whole.logs)
    others = [start(whole, receiver.hook()) for _ in range(10)]
    wait_for(
        lambda: all(len(receiver.taken[each]) >= 6 for each in others), seconds=40, what=whole.logs
    )
    assert stuck not in receiver.taken
    receiver.freed.set()
    wait_for(lambda: pending(whole) == 0, seconds=60, what=whole.logs)
    assert [number for number, _ in dict.fromkeys(receiver.taken[stuck])] == list(
        range(1, len(dict.fromkeys(receiver.taken[stuck])) + 1)
    )
