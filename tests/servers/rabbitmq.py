"""A real RabbitMQ, where one is installed: there is no wheel that carries it."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import amqp

from tests.servers.process import Process, ServerUnavailable, free_port, scratch

#: Debian's program in PATH changes the user and so loses our settings; the
#: real one stands here.
PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")


class RabbitMQ:
    """A server that keeps its port and its data when it is started again."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port  #: Stays the same over restarts.

    @property
    def url(self) -> str:
        """Where it listens, with the default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start it again, with the data that it had."""
        self.process.start()

    def stop(self) -> None:
        """End it in good order."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def restart(self) -> None:
        """End it in good order and start it again."""
        self.stop()
        self.start()


def binary() -> Path:
    """Return the path of the server's program."""
    for place in PLACES:
        if (program := Path(place) / "rabbitmq-server").is_file():
            return program
    if found := shutil.which("rabbitmq-server"):
        return Path(found)
    raise ServerUnavailable("no rabbitmq-server is installed (Debian: apt-get install it)")


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """Run a node of its own, apart from any that the system runs."""
    program = binary()
    with scratch() as directory, _port_mapper(directory) as mapper_port:
        port = free_port()
        process = Process(
            name="RabbitMQ",
            command=[program],
            log=directory / "rabbitmq.log",
            ready=lambda: _answers(port),
            environment=_environment(directory, port, mapper_port),
            # The program is a shell script around the Erlang machine, which
            # ends at SIGTERM in good order.
            death_signal=signal.SIGTERM,
            start_seconds=90,
            stop_seconds=60,
        )
        try:
            process.start()
            yield RabbitMQ(process, port)
        finally:
            process.stop()


@contextmanager
def _port_mapper(directory: Path) -> Iterator[int]:
    """Run an Erlang port mapper and give its port.

    Erlang would start one by itself, which would then outlive everything.
    """
    program = shutil.which("epmd")
    if program is None:
        raise ServerUnavailable("no epmd is installed; it should come with Erlang")
    port = free_port()
    process = Process(
        name="Erlang's port mapper",
        command=[program, "-port", str(port), "-address", "127.0.0.1"],
        log=directory / "epmd.log",
        ready=lambda: _listens(port),
    )
    try:
        process.start()
        yield port
    finally:
        process.kill()


def _environment(directory: Path, port: int, mapper_port: int) -> dict[str, str]:
    return {
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"celeriac-{secrets.token_hex(4)}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_BASE": str(directory),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(directory / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _answers(port: int) -> bool:
    try:
        with amqp.Connection(f"127.0.0.1:{port}", connect_timeout=5):
            return True
    except (OSError, amqp.exceptions.AMQPError):
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
