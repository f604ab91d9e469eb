"""A Celery application with one task that is worked on in batches, for the tests beside it.

What it does is written to Redis: each call of the task as one entry of the list ``calls``. An
event says what is to happen when it is applied.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

import redis
from celery import Celery
from sqlalchemy.exc import OperationalError

from app.broker import celery_settings
from workers import solo, transport
from workers.batching import Batch, Batches

TASK = "toy.apply"
URL = os.environ["TOY_REDIS_URL"]
#: Settings of the stock transport, or of ours.
STOCK = os.environ.get("TOY_STOCK") == "1"
#: Seconds after which a main process that works itself is taken to hang.
solo.HUNG = float(os.environ.get("TOY_HUNG", solo.HUNG))

app = Celery("toy", set_as_current=False)
settings = celery_settings(URL)
if not STOCK:
    settings["broker_transport"] = "workers.transport:Transport"
    settings["broker_transport_options"] |= transport.OPTIONS
    # Quicker than in earnest: a killed worker's messages are waited for.
    settings["broker_transport_options"] |= {
        "visibility_timeout": 3.0,
        "unacked_restore_interval": 0.8,
    }
app.conf.update(settings)
app.conf.worker_enable_prefetch_count_reduction = False
app.steps["consumer"].add(solo.Watch)


def apply_events(batch: Batch) -> None:
    """Record a call, then do what its events say."""
    with redis.Redis.from_url(URL, decode_responses=True) as client:
        client.rpush("calls", json.dumps(batch))
        for events in batch.values():
            for event in events:
                _do(client, event)
        for execution_id, events in batch.items():
            for event in events:
                client.rpush("applied", f"{execution_id}:{event.get('n')}")


def _do(client: Any, event: dict[str, Any]) -> None:
    match event.get("do"):
        case "wait":
            while not client.exists(event["until"]):
                time.sleep(0.005)
        case "fail":
            raise RuntimeError("told to fail")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once" if client.set("died", 1, nx=True):
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            # In a library that does not look up, as a bad regular expression does not.
            re.match("(a+)+b", "a" * 60)
        case "away" if not client.exists("back"):
            raise OperationalError("select 1", {}, Exception("the database is away"))


def park(execution_id: str | None, event: Any, cause: str) -> None:
    """Record a message that was given up."""
    with redis.Redis.from_url(URL) as client:
        client.rpush("parked", json.dumps([execution_id, event, cause]))


batches = Batches(
    name=TASK,
    run=apply_events,
    park=park,
    size=100,
    time_limit=float(os.environ.get("TOY_LIMIT", 20)),
)


@app.task(name=TASK, acks_late=True, Strategy=batches.strategy)
def apply(execution_id: str | None, event: dict[str, Any]) -> None:
    """Never called: the strategy sees to that."""
    raise AssertionError
