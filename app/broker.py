"""The queue's client: what messages there are, and how they leave.

Task names and queues are told here so that whoever sends need not import the workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

# Names of our Celery tasks.
ENGINE_APPLY = "celeriac.engine.apply"  #: (execution_id, event)
ENGINE_FOREIGN = "celeriac.engine.foreign"  #: a user's Celery task ended (link, link_error)
ACTION_RUN = "celeriac.action.run"  #: (request), run by an executor
ACTION_STOP = "celeriac.action.stop"  #: (action execution ids), broadcast to executors
SCHEDULER_RUN_DUE = "celeriac.scheduler.run_due"
SCHEDULER_FIRE_CRON = "celeriac.scheduler.fire_cron"  #: (trigger id)
SCHEDULER_SWEEP = "celeriac.scheduler.sweep"
NOTIFIER_DELIVER = "celeriac.notifier.deliver"  #: (execution_id)

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
    #: Celery's own options: ``expires``, ``countdown``, ``link``, ``headers``, ...
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
        "worker_eta_task_limit": 1000,
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

    def send(self, messages: Iterable[Message]) -> None:
        """Send *messages* in order; raise BrokerUnavailable if the broker does not take them all.

        Some may have left when it raises: every consumer of ours takes a second copy calmly.
        """
        try:
            with self.celery.producer_or_acquire() as producer:
                for message in messages:
                    self.celery.send_task(
                        message.task,
                        args=list(message.args),
                        kwargs=message.kwargs,
                        queue=message.queue,
                        task_id=message.id,
                        producer=producer,
                        ignore_result=True,
                        retry=False,
                        **message.options,
                    )
        except (OperationalError, ConnectionError, OSError) as err:
            raise BrokerUnavailable(f"the broker did not take the message: {err}") from err

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
        self.celery.close()
