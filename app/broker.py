"""The queue's client: what messages there are, and how they leave.

Task names and queues are told here so that whoever sends need not import the workers.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import redis
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from app import redis_client

# Names of our Celery tasks.
ENGINE_APPLY = "celeriac.engine.apply"  #: (execution_id, event)
ENGINE_FOREIGN = "celeriac.engine.foreign"  #: a user's Celery task ended (link, link_error)
ACTION_RUN = "celeriac.action.run"  #: (request), run by an executor
SCHEDULER_RUN_DUE = "celeriac.scheduler.run_due"
SCHEDULER_FIRE_CRON = "celeriac.scheduler.fire_cron"  #: (trigger id)
SCHEDULER_SWEEP = "celeriac.scheduler.sweep"
SCHEDULER_MIRROR_CRON = "celeriac.scheduler.mirror_cron"
SCHEDULER_EXPIRE = "celeriac.scheduler.expire"
NOTIFIER_DELIVER = "celeriac.notifier.deliver"  #: (execution_id, publisher_key, claimed_until)
NOTIFIER_TICK = "celeriac.notifier.tick"

#: Tasks of ours: each takes a second copy of its message calmly.
OWN_TASKS = frozenset(
    {
        ENGINE_APPLY,
        ACTION_RUN,
        NOTIFIER_DELIVER,
        NOTIFIER_TICK,
        SCHEDULER_RUN_DUE,
        SCHEDULER_FIRE_CRON,
        SCHEDULER_SWEEP,
        SCHEDULER_MIRROR_CRON,
        SCHEDULER_EXPIRE,
    }
)

#: Header of an engine event: seconds after its arrival before which it is not to be applied.
#: Unlike Celery's ETA it does not depend on two hosts having the same time.
DELAY = "celeriac-delay"

#: Ours, which spares each Redis command a new client; loaded by this name.
TRANSPORT = "app.transport:Transport"

# Queues.
ENGINE_QUEUE = "engine"
ACTION_QUEUE = "actions"
SCHEDULER_QUEUE = "scheduler"
NOTIFY_QUEUE = "notify"


def action_queue(target: str | None) -> str:
    """The queue that executors of *target* consume."""
    return f"{ACTION_QUEUE}.{target}" if target else ACTION_QUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One Celery task to be sent."""

    task: str
    queue: str
    args: Sequence[Any] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: The Celery task id; a new one when None.
    id: str | None = None
    #: Celery's own options: ``expires``, ``countdown``, ``link``, ``headers``, ... and ``due``:
    #: the time (of this host, in seconds) before which an engine event is not to be applied.
    options: dict[str, Any] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """The message as plain data, for the outbox."""
        return {
            "task": self.task,
            "queue": self.queue,
            "args": list(self.args),
            "kwargs": self.kwargs,
            "id": self.id,
            "options": self.options,
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Message:
        """The message that ``dump`` gave."""
        return cls(**data)


def engine_message(execution_id: str | None, event: dict[str, Any]) -> Message:
    """The message that has an execution advanced by *event*; None: an action that ran alone."""
    return Message(task=ENGINE_APPLY, queue=ENGINE_QUEUE, args=[execution_id, event])


class BrokerUnavailable(Exception):
    """The broker did not take the messages."""


def celery_settings(broker_url: str, *, visibility_timeout: float = 3600.0) -> dict[str, Any]:
    """Celery's settings that every process of ours shares; why, is told in docs/decisions."""
    redis = broker_url.startswith(("redis://", "rediss://", "valkey://"))
    transport: dict[str, Any] = {}
    if redis:
        transport = {
            "visibility_timeout": visibility_timeout,
            "unacked_restore_limit": 1000,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10.0,
            "socket_connect_timeout": 5.0,
            "socket_keepalive": True,
            "health_check_interval": 25,
        }
    elif broker_url.startswith("amqp"):
        transport = {"confirm_publish": True}
    return {
        "broker_url": broker_url,
        "broker_transport": TRANSPORT if broker_url.startswith("redis://") else None,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_default_queue": ENGINE_QUEUE,
        "task_create_missing_queues": True,
        # Messages that an engine may hold until they are due: what comes ahead of ticks.
        "worker_eta_task_limit": 10_000,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "enable_utc": True,
    }


class Broker:
    """Sends messages. Making one opens no connection; one per process, after the fork."""

    def __init__(self, url: str, *, celery: Celery | None = None) -> None:
        self.url = url
        if celery is None:
            celery = Celery("celeriac-client", set_as_current=False)
            celery.conf.update(celery_settings(url))
        self.celery = celery
        #: A client of the server where the queues are; None when the broker is not Redis.
        self.redis: redis.Redis | None = None
        if url.startswith(("redis://", "rediss://")):
            self.redis = redis_client.client(url)

    def send(self, messages: Iterable[Message]) -> None:
        """Send *messages* in order; raise BrokerUnavailable if the broker does not take them all.

        Some may have left when it raises: every consumer of ours takes a second copy calmly.
        """
        try:
            plain: list[Message] = []
            for message in messages:
                if self.redis is not None and PLAIN_OPTIONS.issuperset(message.options):
                    plain.append(message)
                else:
                    self._push(plain)
                    plain = []
                    self._send_task(message)
            self._push(plain)
        except (OperationalError, ConnectionError, OSError, redis.RedisError) as err:
            raise BrokerUnavailable(f"the broker did not take the message: {err}") from err

    def _push(self, messages: Sequence[Message]) -> None:
        """Write messages to Redis, all in one round trip and all or none.

        What Celery does for each message takes fifteen times as long, and most of the CPU of an
        engine that dispatches many actions. The form is that of Celery's message protocol 2 in
        Kombu's Redis envelope; a test has a stock worker receive it.
        """
        if not messages:
            return
        assert self.redis is not None
        queues: dict[str, list[bytes]] = {}
        for message in messages:
            queues.setdefault(message.queue, []).append(envelope(message))
        if len(queues) == 1:
            for queue, envelopes in queues.items():
                self.redis.lpush(queue, *envelopes)
            return
        with self.redis.pipeline(transaction=True) as pipeline:
            for queue, envelopes in queues.items():
                pipeline.lpush(queue, *envelopes)
            pipeline.execute()

    def _send_task(self, message: Message) -> None:
        """Send with everything that Celery offers."""
        options = dict(message.options)
        delay = _delay(options.pop("due", None))
        if delay:
            options["countdown"] = delay
            options["headers"] = {**options.get("headers", {}), DELAY: delay}
        with self.celery.producer_or_acquire() as producer:
            self.celery.send_task(
                message.task,
                args=list(message.args),
                kwargs=message.kwargs,
                queue=message.queue,
                task_id=message.id,
                producer=producer,
                ignore_result=True,
                retry=False,
                # Nobody reads these, and they cost more than the message.
                argsrepr="",
                kwargsrepr="",
                **options,
            )

    def check(self) -> None:
        """Raise BrokerUnavailable unless the broker answers."""
        try:
            with Connection(
                self.url, connect_timeout=2, transport_options={"socket_timeout": 2}
            ) as c:
                c.ensure_connection(max_retries=1, timeout=2)
        except Exception as err:
            raise BrokerUnavailable(f"the broker does not answer: {err}") from err

    def close(self) -> None:
        """Close the connections of this process."""
        if self.redis is not None:
            self.redis.close()
        self.celery.close()


#: Options that a message may have and still be written without Celery's help.
PLAIN_OPTIONS = frozenset({"countdown", "due", "expires", "headers"})
_EMBED: dict[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HOST = socket.gethostname()


def envelope(message: Message) -> bytes:
    """*message* as Celery writes it to a Redis list."""
    task_id = message.id or str(uuid4())
    eta = expires = None
    headers: dict[str, Any] = {}
    if message.options:
        headers = dict(message.options.get("headers") or {})
        delay = _delay(message.options.get("due"))
        if delay:
            headers[DELAY] = delay
        eta = _iso(message.options.get("countdown") or delay)
        expires = _iso(message.options.get("expires"))
    body = _json([list(message.args), message.kwargs, _EMBED])
    return _json(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": message.task,
                "id": task_id,
                "shadow": None,
                "eta": eta,
                "expires": expires,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": task_id,
                "parent_id": None,
                "argsrepr": "",
                "kwargsrepr": "",
                "origin": f"{os.getpid()}@{_HOST}",
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
                **headers,
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )


def _delay(due: float | None) -> float:
    return 0.0 if due is None else max(0.0, due - time.time())


def _iso(seconds: float | None) -> str | None:
    """The time in so many seconds, as Celery writes it."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat() if seconds else None


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers beyond 64 bits, keys that are not text.
        return json.dumps(value, separators=(",", ":")).encode()
