"""Kombu's Redis transport with one client per channel.

Kombu makes a new ``redis.Redis`` for every command it sends, although it gives each the same
pool of connections. Making one costs more than the command itself: it is a sixth of what a
message costs a worker. A client holds nothing but the pool, so one serves as well.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis


class Channel(kombu_redis.Channel):
    """A channel that keeps the client it sends commands with."""

    _kept: tuple[Any, Any] | None = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            # The client that waits for messages is made once already.
            return super()._create_client(asynchronous=True)
        pool = self.pool
        if self._kept is None or self._kept[0] is not pool:
            self._kept = (pool, super()._create_client())
        return self._kept[1]


class Transport(kombu_redis.Transport):
    """The transport for ``redis://`` URLs, with our channel."""

    Channel = Channel
