"""Celery tasks that the clock sends: what is due, and the sweep."""

from __future__ import annotations

import logging
from typing import Any

import redis.exceptions
from celery import Celery, bootsteps

from app.broker import (
    SCHEDULER_QUEUE,
    SCHEDULER_RUN_DUE,
    SCHEDULER_SWEEP,
    BrokerUnavailable,
    Message,
)
from app.services import maintenance, sweeper, timers, triggers
from app.services.ticks import TICK
from workers import schedule
from workers.process import Process

log = logging.getLogger(__name__)

#: Seconds without a tick after which an engine worker ticks in beat's place.
STALE = 5.0


def register(app: Celery, process: Process) -> None:
    """Add the scheduler's tasks to *app*."""

    @app.task(name=SCHEDULER_RUN_DUE, acks_late=False, ignore_result=True)
    def run_due() -> None:
        """Send the timers that are due, or will be before the next tick; fire cron triggers."""
        timers.run_due(process.platform, horizon=timers.HORIZON)
        process.ticks.mark()
        triggers.fire_due(process.platform)

    @app.task(name=SCHEDULER_SWEEP, acks_late=False, ignore_result=True)
    def sweep() -> None:
        """Look after what was left behind."""
        sweeper.sweep(process.platform)
        maintenance.advance(process.platform)

    StandIn.process = process
    app.steps["consumer"].add(StandIn)


class StandIn(bootsteps.StartStopStep):
    """Ticks while beat does not; part of each worker that the clock's tasks go to."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    process: Process

    def __init__(self, consumer: Any, **_: Any) -> None:
        self.enabled = SCHEDULER_QUEUE in consumer.app.amqp.queues.consume_from
        self._timer: Any = None
        self._standing_in = False

    def start(self, consumer: Any) -> None:
        """Begin to watch the clock."""
        self._timer = consumer.timer.call_repeatedly(TICK, self.look)

    def stop(self, consumer: Any) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Send what beat would have sent, if it has not done so for a while."""
        try:
            age = self.process.ticks.age()
            if age is not None and age < STALE:
                self._standing_in = False
                return
            if not self._standing_in:
                self._standing_in = True
                log.warning(
                    "beat has not ticked for %s: ticking in its place",
                    "a day or ever" if age is None else f"{age:.0f} s",
                )
            self.process.broker.send(
                Message(
                    task=entry["task"],
                    queue=entry["options"]["queue"],
                    options={"expires": entry["options"]["expires"]},
                )
                for entry in schedule.entries(self.process.config).values()
                if self.process.ticks.stand_in(entry["task"], seconds=0.9 * entry["schedule"])
            )
        except (redis.exceptions.RedisError, BrokerUnavailable) as err:
            log.warning("cannot tell whether beat ticks: %s", err)
