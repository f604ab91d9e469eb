"""A real executor on a real Redis, and what a test needs to speak with it."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from app.broker import ACTION_RUN, ENGINE_APPLY, Broker, Message, action_queue
from app.ledger import Ledger
from tests.servers.process import Process

ROOT = Path(__file__).parents[3]


class Bench:
    """Sends actions to executors, and stands in for the engine that takes their results."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.broker = Broker(url)
        self.ledger = Ledger(url)
        self.events: dict[str, list[dict[str, Any]]] = {}

    def request(
        self, action: str, input: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A request as the engine makes it."""
        action_id = str(uuid.uuid4())
        return {
            "id": action_id,
            "execution_id": "the-execution",
            "task_id": "the-task",
            "attempt": 1,
            "action": action,
            "input": input or {},
            "context": {"action_execution_id": action_id, "workflow_name": "w"},
            "timeout": None,
            "safe_rerun": False,
            "asynchronous": False,
            "sync_reply": False,
            **more,
        }

    def send(self, request: dict[str, Any], target: str | None = None) -> str:
        """Send a request; the action's id."""
        self.broker.send(
            [Message(task=ACTION_RUN, queue=action_queue(target), args=[request], id=request["id"])]
        )
        return str(request["id"])

    def run(self, action: str, input: dict[str, Any] | None = None, **more: Any) -> str:
        """Make and send a request; the action's id."""
        return self.send(self.request(action, input, **more))

    def result(self, id: str, *, times: int = 1, within: float = 60) -> dict[str, Any]:
        """The event that tells how an action ended, once *times* of it have come."""
        self.wait(lambda: len(self.received(id)) >= times, within, f"the result of {id}")
        return self.events[id][-1]

    def received(self, id: str) -> list[dict[str, Any]]:
        """All events about an action so far."""
        while (raw := self.client.rpop("engine")) is not None:
            message = json.loads(str(raw))
            assert message["headers"]["task"] == ENGINE_APPLY
            (execution_id, event), _, _ = json.loads(base64.b64decode(message["body"]))
            self.events.setdefault(event["action_id"], []).append({"for": execution_id, **event})
        return self.events.get(id, [])

    def wait(self, ready: Callable[[], Any], within: float = 60, what: str = "it") -> None:
        """Return once *ready* is true; fail after some seconds."""
        deadline = time.monotonic() + within
        while not ready():
            assert time.monotonic() < deadline, f"not within {within} s: {what}"
            time.sleep(0.02)

    def lines(self, name: str) -> list[str]:
        """What an action has written to a file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def idle(self) -> bool:
        """True when no message waits or is being worked on."""
        return not self.client.llen("actions") and not self.client.hlen("unacked")

    @contextmanager
    def executor(
        self, *, concurrency: int = 2, queues: str = "actions", **settings: Any
    ) -> Iterator[Process]:
        """Run an executor with *settings*."""
        log = self.folder / "executor.log"
        before = log.read_text().count(" ready.") if log.exists() else 0
        worker = Process(
            name="the executor",
            command=[
                *(sys.executable, "-m", "celery", "-A", "tests.integration.actions.executor_app"),
                *("worker", "-Q", queues, "-c", str(concurrency), "-P", "prefork", "-O", "fair"),
                *("-n", f"{uuid.uuid4()}@test", "--without-gossip", "--without-mingle"),
                *("-l", "INFO"),
            ],
            log=log,
            ready=lambda: log.read_text().count(" ready.") > before,
            environment={
                "CELERIAC_BROKER_URL": self.url,
                "PYTHONPATH": str(ROOT),
                "PATH": os.environ["PATH"],
                **{f"CELERIAC_{name.upper()}": str(value) for name, value in settings.items()},
            },
        )
        worker.start()
        try:
            yield worker
        finally:
            worker.kill()

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        self.broker.close()
        self.ledger.close()


@pytest.fixture
def bench(clean_redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    """The test's side of the broker."""
    bench = Bench(clean_redis_url, tmp_path)
    yield bench
    bench.close()
