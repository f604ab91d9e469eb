"""Workers of the application in ``toy.py``, what they are sent, and the Redis that they use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import redis

from app.broker import Broker, Message
from tests.processes import Worker, running

TASK = "toy.apply"
Send = Callable[..., None]
Start = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def client(clean_redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def send(clean_redis_url: str) -> Iterator[Send]:
    broker = Broker(clean_redis_url)

    def send(*events: dict[str, Any], **options: Any) -> None:
        broker.send(
            Message(task=TASK, queue="toy", args=[event.get("e", "x"), event], options=options)
            for event in events
        )

    yield send
    broker.close()


@pytest.fixture
def start(clean_redis_url: str, tmp_path: Path) -> Start:
    def start(
        *, pool: str = "prefork", stock: bool = False, concurrency: int = 1, **settings: str
    ) -> Any:
        arguments = [
            *("celery", "-A", "tests.integration.workers.toy", "worker", "-Q", "toy"),
            *("--pool", pool, "-c", str(concurrency), "--prefetch-multiplier", "300"),
            *("-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("-l", "INFO", "-n", f"toy{time.monotonic_ns()}@%h"),
        ]
        environment = {
            "TOY_REDIS_URL": clean_redis_url,
            "TOY_STOCK": "1" if stock else "0",
            **settings,
        }
        log = tmp_path / f"worker-{time.monotonic_ns()}.log"
        # Celery reads this one when it is loaded.
        return running(arguments, environment, log, fork="REMAP_SIGTERM" not in settings)

    return start
