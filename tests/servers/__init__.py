"""Real servers for tests, benchmarks and scripts, started without root or docker.

    from tests.servers import postgres, redis_server

    with postgres() as database, redis_server() as broker:
        run(database.new_database(), broker.url)

Every server listens on loopback only, keeps its data in a fresh temporary
directory, and is gone when the ``with`` ends, or, on Linux, when the process
that started it dies of whatever cause.
"""

from __future__ import annotations

from tests.servers.postgres import Databases, Postgres, postgres
from tests.servers.process import ServerFailed, ServerUnavailable
from tests.servers.rabbitmq import RabbitMQ, rabbitmq
from tests.servers.redis import Redis, redis_server
from tests.servers.sshd import Sshd, sshd

__all__ = [
    "Databases",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "ServerFailed",
    "ServerUnavailable",
    "Sshd",
    "postgres",
    "rabbitmq",
    "redis_server",
    "sshd",
]
