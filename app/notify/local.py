"""Publishers that call nobody outside: ``noop``, ``log`` and ``redis-stream``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import redis

from .delivery import Delivery, DeliveryFailed, Undeliverable

log = logging.getLogger("celeriac.notifications")

#: Every stream that users name begins so: they must not reach the queues and the ledger.
STREAM_PREFIX = "celeriac:stream:"
#: About how many entries a stream keeps.
STREAM_LENGTH = 100_000


class Noop:
    """Takes every event and does nothing with it."""

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        return None

    def publish(self, delivery: Delivery) -> None:
        log.debug("event %s of execution %s", delivery.event, delivery.execution_id)


class Log:
    """Writes a line for each event to the log."""

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        return None

    def publish(self, delivery: Delivery) -> None:
        log.info(
            "event %s of execution %s, number %d: %s",
            delivery.event,
            delivery.execution_id,
            delivery.number,
            json.dumps(dict(delivery.data)),
        )


class RedisStream:
    """Appends each event to a stream of Celeriac's own Redis."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=2, health_check_interval=25
        )

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        return "redis"

    def publish(self, delivery: Delivery) -> None:
        name = delivery.publisher.get("stream", "events")
        if not isinstance(name, str) or not name:
            raise Undeliverable(f"stream: expected a text, got {name!r}")
        try:
            self._client.xadd(
                STREAM_PREFIX + name,
                {
                    "key": delivery.key,
                    "execution_id": delivery.execution_id,
                    "number": delivery.number,
                    "event": delivery.event or "",
                    "data": json.dumps(dict(delivery.data)),
                },
                maxlen=STREAM_LENGTH,
                approximate=True,
            )
        except redis.RedisError as err:
            raise DeliveryFailed(f"Redis did not take the event: {err}") from err
