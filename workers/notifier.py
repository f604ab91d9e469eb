"""Celery tasks of the notifier: delivering events to publishers. It listens to a bus as well.

A delivery mostly waits for somebody else's server, so this worker runs in threads:
``celery -A workers.celery:notifier worker -Q notify --pool threads --concurrency 32``.
"""

from __future__ import annotations

import threading
from datetime import datetime

from celery import Celery

from app.broker import NOTIFIER_DELIVER, NOTIFIER_TICK
from app.notify.destinations import Destinations
from app.notify.registry import Publishers, standard_publishers
from app.services import notifications
from app.services.notifications import Lane
from workers.event_engine import Listening
from workers.process import Process


class Notifier:
    """The publishers of this process, made when they are first needed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._publishers: Publishers | None = None
        self.destinations = Destinations()

    @property
    def publishers(self) -> Publishers:
        """All publishers by type."""
        with self._lock:
            if self._publishers is None:
                self._publishers = standard_publishers(self._process.config)
            return self._publishers


def register(app: Celery, process: Process) -> None:
    """Add the notifier's tasks to *app*."""
    notifier = Notifier(process)
    Listening.process = process
    app.steps["consumer"].add(Listening)

    @app.task(name=NOTIFIER_DELIVER, acks_late=True, ignore_result=True)
    def deliver(execution_id: str, publisher_key: str, claimed_until: str | None = None) -> None:
        """Deliver what waits for one publisher of one execution."""
        notifications.deliver(
            process.platform,
            notifier.publishers,
            notifier.destinations,
            Lane(execution_id, publisher_key),
            claimed_until=datetime.fromisoformat(claimed_until) if claimed_until else None,
        )

    @app.task(name=NOTIFIER_TICK, acks_late=False, ignore_result=True)
    def tick() -> None:
        """Send for what waits for another attempt."""
        notifications.tick(process.platform)
