"""The event engine: listens to a bus, and starts what event triggers want.

It runs in a thread of the notifier's worker; several of them share the messages. A message is
done with when the executions that it starts are committed. One that comes again starts nothing,
since the ids of executions follow from the trigger and the message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy.exc
import yaml
from celery import bootsteps

from app.broker import NOTIFY_QUEUE
from app.config import ConfigError
from app.core import event_definitions
from app.core.event_definitions import EventDefinition, InvalidEventDefinitions
from app.core.expressions import ExpressionError
from app.services import triggers
from app.services.event_sources import BadEvent
from workers.buses import BUS_ERRORS, Listener, Taken, open_bus
from workers.process import Process

log = logging.getLogger(__name__)

#: Seconds between two looks for what triggers listen to.
REFRESH = 2.0
#: Longest seconds that one wait for messages takes.
WAIT = 1.0
#: Longest seconds between two tries while the bus or the database is away.
LONGEST_PAUSE = 15.0
#: Name of the queues and consumer groups that event engines of one installation share.
POOL = "celeriac-events"


class EventEngine:
    """Takes messages from the bus until it is told to stop."""

    def __init__(self, process: Process) -> None:
        self._process = process
        config = process.config
        self._url = config.event_bus_url or config.redis_url
        self._definitions = read_definitions(config.event_definitions)
        self._stopping = threading.Event()
        self._pause = 0.0

    def stop(self) -> None:
        """Have ``run`` return soon."""
        self._stopping.set()

    def run(self) -> None:
        """Listen; returns when it is told to stop."""
        while not self._stopping.is_set():
            try:
                bus = open_bus(self._url, POOL)
                try:
                    while not self._stopping.is_set():
                        self._turn(bus)
                finally:
                    bus.close()
            except (*BUS_ERRORS, sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as err:
                self._wait(f"the bus or the database is away: {err}")
            except Exception:
                log.exception("the event engine begins anew")
                self._wait("after a fault of our own")

    def _wait(self, cause: str) -> None:
        self._pause = min(LONGEST_PAUSE, self._pause * 2 or 0.5)
        log.warning("listening again in %g s: %s", self._pause, cause)
        self._stopping.wait(self._pause)

    def _turn(self, bus: Listener) -> None:
        """Find out what to listen to, and listen for a while."""
        with self._process.platform.database.read() as session:
            sources = triggers.sources(session)
        bus.listen(sources)
        if not sources:
            self._stopping.wait(REFRESH)
            return
        until = time.monotonic() + REFRESH
        while time.monotonic() < until and not self._stopping.is_set():
            taken = bus.take(WAIT)
            self._pause = 0.0
            if taken:
                self._receive(bus, taken)

    def _receive(self, bus: Listener, taken: Sequence[Taken]) -> None:
        """Start what *taken* ask for, and have them forgotten."""
        readable: list[Taken] = []
        for each in taken:
            try:
                each.read()
                readable.append(each)
            except BadEvent as err:
                log.error("no event, from %s/%s: %s", each.exchange, each.topic, err)
                bus.put_aside(each, str(err))
        if not readable:
            return
        try:
            self._start(readable)
        except sqlalchemy.exc.OperationalError:
            raise
        except Exception:
            log.exception("%d events are tried one by one", len(readable))
            for each in readable:
                self._start_alone(bus, each)
            return
        bus.done(readable)

    def _start_alone(self, bus: Listener, taken: Taken) -> None:
        try:
            self._start([taken])
        except sqlalchemy.exc.OperationalError:
            raise
        except Exception as err:
            log.exception("an event from %s/%s is put aside", taken.exchange, taken.topic)
            bus.put_aside(taken, f"{type(err).__name__}: {err}")
            return
        bus.done([taken])

    def _start(self, taken: Sequence[Taken]) -> None:
        """Start executions; waits while the installation is paused."""
        messages = [each.read() for each in taken]
        while not self._stopping.is_set():
            try:
                triggers.receive(self._process.platform, self._definitions, messages)
                return
            except triggers.Paused:
                self._stopping.wait(WAIT)
        raise ConnectionError("the event engine stops; what it has in hand comes again")


def read_definitions(path: str) -> tuple[EventDefinition, ...]:
    """The definitions of events in the YAML file at *path*; raises ConfigError with the place."""
    if not path:
        return ()
    try:
        return event_definitions.parse(yaml.safe_load(Path(path).read_text()))
    except (
        OSError, UnicodeDecodeError, yaml.YAMLError, InvalidEventDefinitions, ExpressionError,
    ) as err:  # fmt: skip
        raise ConfigError(f"CELERIAC_EVENT_DEFINITIONS: {path}: {err}") from err


class Listening(bootsteps.StartStopStep):
    """The event engine as a part of the notifier's worker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    process: Process

    def __init__(self, consumer: Any, **_: Any) -> None:
        self.enabled = NOTIFY_QUEUE in consumer.app.amqp.queues.consume_from
        self._engine: EventEngine | None = None

    def start(self, consumer: Any) -> None:
        """Begin to listen."""
        self._engine = EventEngine(self.process)
        threading.Thread(target=self._engine.run, name="event-engine", daemon=True).start()

    def stop(self, consumer: Any) -> None:
        """Listen no longer."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
