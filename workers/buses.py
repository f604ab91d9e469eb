"""Message buses that events come from: Redis streams, and AMQP exchanges such as RabbitMQ's.

A source is an exchange and a topic. Whoever listens to a source gets its messages in rows, and
says of each row when it is done with. What is not done with when a listener dies goes to another
one. Listeners of one installation share the messages of a source.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import kombu
import redis
from kombu.exceptions import OperationalError

from app.services.event_sources import STREAM, parse
from app.services.triggers import BusMessage

#: Most messages taken, and not done with, at once.
ROW = 100
#: Messages that a dead listener had in hand are given to another one after so many seconds.
ABANDONED = 15.0
#: Most messages that are kept aside because nobody can read them.
ASIDE = 1000

#: Failures of the bus; whoever listens connects anew.
BUS_ERRORS = (redis.RedisError, OperationalError, ConnectionError, OSError)

#: A source, by exchange and topic, and since when somebody wants its messages.
Sources = Mapping[tuple[str, str], datetime]


class BusError(ValueError):
    """The URL of the bus names none that is known."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message in hand."""

    exchange: str
    topic: str
    body: bytes | str
    #: By which the bus itself knows the message; None if it has none.
    id: str | None
    #: What the listener needs to say that it is done with.
    handle: Any

    def read(self) -> BusMessage:
        """What the message says; raises BadEvent."""
        return parse(self.exchange, self.topic, self.body, id=self.id)


class Listener(Protocol):
    """An open connection to a bus."""

    def listen(self, sources: Sources) -> None:
        """Listen to *sources*, and to nothing else any more."""

    def take(self, seconds: float) -> list[Taken]:
        """Messages, as soon as there are some; none after so many *seconds*."""

    def done(self, taken: Iterable[Taken]) -> None:
        """Have messages forgotten."""

    def put_aside(self, taken: Taken, cause: str) -> None:
        """Have a message forgotten that nobody can read, and keep it where people find it."""

    def close(self) -> None:
        """Give back what is in hand."""


def open_bus(url: str, pool: str) -> Listener:
    """Connect to the bus at *url*; listeners with the same *pool* share its messages."""
    for prefixes, kind in (
        (("redis://", "rediss://"), RedisStreams),
        (("amqp://", "amqps://"), Amqp),
    ):
        if url.startswith(prefixes):
            made: Listener = kind(url, pool)
            return made
    raise BusError(f"expected redis:// or amqp:// for the bus of events, got {url.split(':')[0]}:")


class RedisStreams:
    """Streams of Redis, one for each source, read by a consumer group."""

    def __init__(self, url: str, pool: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5)
        self._group = pool
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        #: Stream -> source.
        self._streams: dict[bytes, tuple[str, str]] = {}
        self._reclaim = True

    def listen(self, sources: Sources) -> None:
        wanted = {STREAM.format(*source).encode(): source for source in sources}
        for stream in wanted.keys() - self._streams.keys():
            # From when the trigger was made: nothing is missed until we come to know of it.
            since = int(sources[wanted[stream]].timestamp() * 1000)
            with suppress(redis.ResponseError):  # The group exists.
                self._client.xgroup_create(stream, self._group, f"{since}-0", mkstream=True)
        for stream in self._streams.keys() - wanted.keys():
            with suppress(redis.ResponseError):
                self._client.xgroup_destroy(stream, self._group)
        self._reclaim = True
        self._streams = wanted

    def take(self, seconds: float) -> list[Taken]:
        if not self._streams:
            return []
        if self._reclaim:
            # Once after each look at the sources, that is every few seconds.
            self._reclaim = False
            if found := self._abandoned():
                return found
        try:
            answer: Any = self._client.xreadgroup(
                self._group,
                self._name,
                dict.fromkeys(self._streams, ">"),
                count=ROW,
                block=int(seconds * 1000),
            )
        except redis.ResponseError as err:
            if "NOGROUP" not in str(err):
                raise
            # Somebody deleted the stream, or Redis lost its data: the groups are made again.
            self._streams = {}
            return []
        streams: Iterable[Any] = answer.items() if isinstance(answer, dict) else answer or ()
        return [
            taken
            for stream, rows in streams
            # A client of RESP3 gets the rows of a stream in one more list.
            for taken in self._rows(stream, _entries(rows))
        ]

    def _abandoned(self) -> list[Taken]:
        found: list[Taken] = []
        for stream in self._streams:
            try:
                _, rows, *_ = self._client.xautoclaim(  # type: ignore[misc]
                    stream, self._group, self._name, int(ABANDONED * 1000), count=ROW
                )
            except redis.ResponseError:
                continue  # The stream is gone; reading tells.
            found.extend(self._rows(stream, rows))
        return found

    def _rows(self, stream: bytes, rows: Iterable[Any]) -> list[Taken]:
        exchange, topic = self._streams[stream]
        return [
            Taken(
                exchange,
                topic,
                (fields or {}).get(b"message", b""),
                entry.decode(),
                (stream, entry),
            )
            for entry, fields in rows or ()
        ]

    def done(self, taken: Iterable[Taken]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for each in taken:
            stream, entry = each.handle
            pipe.xack(stream, self._group, entry)
        pipe.execute()

    def put_aside(self, taken: Taken, cause: str) -> None:
        fields = {
            "exchange": taken.exchange,
            "topic": taken.topic,
            "message": taken.body,
            "cause": cause,
        }
        self._client.xadd(f"{STREAM.split('{')[0]}unreadable", fields, maxlen=ASIDE)  # type: ignore[arg-type]
        self.done([taken])

    def close(self) -> None:
        self._client.close()


def _entries(rows: Any) -> Iterable[Any]:
    found: Iterable[Any] = rows[0] if rows and isinstance(rows[0], list) else rows
    return found


class Amqp:
    """Topic exchanges of AMQP, as OpenStack's services send their notifications to.

    A source has one durable queue, bound to the topic alone and with anything after it
    (``nova.info``, ``nova.error``), so that events of all priorities come.
    """

    def __init__(self, url: str, pool: str) -> None:
        self._pool = pool
        self._connection = kombu.Connection(url, connect_timeout=5, heartbeat=30)
        self._connection.ensure_connection(max_retries=1)
        self._channel = self._connection.channel()
        self._channel.basic_qos(0, ROW, False)
        self._consumers: dict[tuple[str, str], kombu.Consumer] = {}
        self._taken: list[Taken] = []
        self._aside = kombu.Queue(f"{pool}.unreadable", durable=True, max_length=ASIDE)

    def listen(self, sources: Sources) -> None:
        for source in self._consumers.keys() - sources.keys():
            consumer = self._consumers.pop(source)
            consumer.cancel()
            for queue in consumer.queues or ():
                queue.delete()
        for source in sources.keys() - self._consumers.keys():
            self._consumers[source] = self._consume(*source)

    def _consume(self, exchange: str, topic: str) -> kombu.Consumer:
        self._declare(exchange)
        found = kombu.Exchange(exchange, type="topic", no_declare=True)
        queue = kombu.Queue(
            f"{self._pool}.{exchange}.{topic}",
            durable=True,
            # A number sign stands for any number of words, none included.
            bindings=[kombu.binding(found, routing_key=f"{topic}.#")],
        )
        consumer = kombu.Consumer(
            self._channel,
            [queue],
            on_message=self._receiver(exchange, topic),
            no_ack=False,
            auto_declare=True,
        )
        consumer.consume()
        return consumer

    def _declare(self, exchange: str) -> None:
        """Make the exchange unless it is there, however whoever made it wanted it to be."""
        with self._connection.channel() as channel:
            try:
                kombu.Exchange(exchange, type="topic", passive=True)(channel).declare()
                return
            except self._connection.channel_errors:
                pass  # There is none; and the channel is closed now.
        with self._connection.channel() as channel:
            kombu.Exchange(exchange, type="topic", durable=True)(channel).declare()

    def _receiver(self, exchange: str, topic: str) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            known_as = (message.properties or {}).get("message_id")
            self._taken.append(Taken(exchange, topic, message.body, known_as, message))

        return receive

    def take(self, seconds: float) -> list[Taken]:
        if not self._consumers:
            return []
        wait = seconds
        while len(self._taken) < ROW:
            try:
                self._connection.drain_events(timeout=wait)
            except TimeoutError:
                break
            wait = 0.001
        self._connection.heartbeat_check()
        taken, self._taken = self._taken, []
        return taken

    def done(self, taken: Iterable[Taken]) -> None:
        for each in taken:
            each.handle.ack()

    def put_aside(self, taken: Taken, cause: str) -> None:
        with self._connection.channel() as channel:
            kombu.Producer(channel).publish(
                taken.body.encode() if isinstance(taken.body, str) else taken.body,
                routing_key=self._aside.name,
                declare=[self._aside],
                headers={"exchange": taken.exchange, "topic": taken.topic, "cause": cause},
                content_type="application/octet-stream",
                content_encoding="binary",
            )
        self.done([taken])

    def close(self) -> None:
        with suppress(*BUS_ERRORS):
            self._connection.release()
