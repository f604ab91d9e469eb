"""A client of Redis for commands that are sent all the time.

Redis-py's own takes a connection from its pool for each command, asks whether it is alive, tells
its observers and gives it back; that takes longer than the command itself. Ours keeps the
connections that it has used, each for one thread at a time. What fails is left to redis-py, which
tries again as it is set up to.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import redis


def client(url: str, **settings: Any) -> redis.Redis:
    """A client of the server at *url* with redis-py's *settings*. Opens no connection."""
    usual = {
        "socket_timeout": 10.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
    return _Client.from_url(url, **(usual | settings))


class _Client(redis.Redis):
    """A client that keeps its connections at hand."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._at_hand: deque[Any] = deque()
        self._pid = os.getpid()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The answer to a command; raises redis.RedisError."""
        connection = self._take()
        try:
            connection.send_command(*args)
            return self.parse_response(connection, args[0], **options)
        except (redis.ConnectionError, redis.TimeoutError):
            connection.disconnect()
            return super().execute_command(*args, **options)
        except redis.ResponseError:
            raise
        except BaseException:
            # Whoever comes next would read the answer to this command.
            connection.disconnect()
            raise
        finally:
            self._at_hand.append(connection)

    def _take(self) -> Any:
        if self._pid != os.getpid():
            # They belong to the process that we were forked from.
            self._at_hand, self._pid = deque(), os.getpid()
        try:
            return self._at_hand.pop()
        except IndexError:
            return self.connection_pool.get_connection()
