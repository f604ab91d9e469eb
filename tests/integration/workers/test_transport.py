"""What the transport of workers does when Redis takes its time, or is gone in the midst of it."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection

from tests.integration.workers.conftest import Send, Start
from tests.processes import wait_for


class Between:
    """Stands between a worker and Redis; keeps back which messages Redis has, when told to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = parts._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.keep_back = threading.Event()
        #: Connections whose answers are kept back.
        self.kept: list[socket.socket] = []

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def cut(self) -> None:
        """Keep nothing back any more, and close those connections for which it was done."""
        self.keep_back.clear()
        for client in self.kept:
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server, suppress(OSError):
            both = selectors.DefaultSelector()
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                both.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in both.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is server:
                        client.sendall(data)
                        continue
                    # Of the scripts only the one that takes messages.
                    if self.keep_back.is_set() and b"'RPOP'" in data:
                        both.unregister(server)
                        self.kept.append(client)
                    server.sendall(data)


@pytest.fixture
def between(clean_redis_url: str) -> Iterator[Between]:
    between = Between(clean_redis_url)
    threading.Thread(target=between.serve, daemon=True).start()
    yield between
    between.close()


def applied(client: redis.Redis) -> list[str]:
    return client.lrange("applied", 0, -1)


def test_who_comes_alone_does_not_wait_until_redis_has_noted_it(
    between: Between, client: redis.Redis, send: Send, start: Start
) -> None:
    with start(pool="solo", TOY_REDIS_URL=between.url) as it:
        it.ready()
        send({"n": 1})
        wait_for(lambda: applied(client) == ["x:1"], what=it.output)
        wait_for(lambda: client.hlen("celeriac.in_hand") == 0, what=it.output)
        between.keep_back.set()
        send({"n": 2})
        wait_for(lambda: applied(client) == ["x:1", "x:2"], what=it.output)
        assert client.hlen("celeriac.in_hand") == 1
        # What came of it is never heard: it must not hinder what comes later, nor be lost.
        send({"n": 3}, {"n": 4})
        between.cut()
        wait_for(lambda: {"x:3", "x:4"} <= set(applied(client)), what=it.output)
        wait_for(lambda: client.hlen("celeriac.in_hand") == 0, what=it.output)
        assert client.llen("toy") == 0


def test_who_came_alone_is_in_hand_when_its_worker_dies(
    client: redis.Redis, send: Send, start: Start
) -> None:
    with start(pool="solo") as first:
        first.ready()
        send({"n": 1})
        wait_for(lambda: applied(client) == ["x:1"], what=first.output)
        wait_for(lambda: client.hlen("celeriac.in_hand") == 0, what=first.output)
        send({"n": 2, "do": "wait", "until": "go"})
        wait_for(lambda: client.llen("calls") == 2, what=first.output)
        first.kill()
    assert client.hlen("celeriac.in_hand") + client.llen("toy") == 1
    client.set("go", 1)
    with start(pool="solo") as second:
        second.ready()
        wait_for(lambda: applied(client) == ["x:1", "x:2"], what=second.output)
        wait_for(lambda: client.hlen("celeriac.in_hand") == 0, what=second.output)


def test_what_cannot_be_read_is_put_aside_wherever_it_stands(
    client: redis.Redis, send: Send, start: Start
) -> None:
    with start(pool="solo") as it:
        it.ready()
        for n in range(3):
            send({"n": n})
            wait_for(lambda n=n: f"x:{n}" in applied(client), what=it.output)
            client.lpush("toy", ["no JSON", '{"properties": []}', "7"][n])
            wait_for(
                lambda n=n: client.llen("celeriac.in_hand.unreadable") == n + 1, what=it.output
            )
        send({"n": 9})
        wait_for(lambda: "x:9" in applied(client), what=it.output)
        assert "Traceback" not in it.output()


def test_a_channel_that_outlives_its_connection_closes_all_the_same(
    clean_redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Kombu gives the connection up when it cannot close a channel, and closes that later."""
    connection = Connection(clean_redis_url, transport="workers.transport:Transport")
    channel = connection.channel()
    channel.qos.ack("what is not told yet")
    channel._disconnect_pools()
    connection._do_close_transport()
    channel.close()
    assert channel.closed
    assert "they will come again" in caplog.text
