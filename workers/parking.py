"""Messages that cannot be applied: kept where they can be looked at, and told to the execution."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from app.broker import engine_message
from app.models.types import dumps
from workers.process import Process

#: A Redis list of JSON objects, newest first.
KEY = "celeriac:parked"
#: How many are kept.
KEPT = 1000


def park(process: Process, execution_id: str | None, event: Mapping[str, Any], cause: str) -> None:
    """Keep an event that could not be applied, and end its execution with the cause."""
    entry = {"execution_id": execution_id, "event": event, "cause": cause, "at": time.time()}
    redis = process.ticks.redis
    redis.lpush(KEY, dumps(entry))
    redis.ltrim(KEY, 0, KEPT - 1)
    if execution_id is not None and event.get("kind") not in (None, "ExecutionBroke"):
        broke = {"kind": "ExecutionBroke", "cause": cause}
        process.broker.send([engine_message(execution_id, broke)])
