"""What all tests share: servers, databases, and which tests may open sockets.

Servers are started when the first test asks for them, one of each per
process (so parallel runs share nothing), and end with the run.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from sqlalchemy import make_url

from app.models.migrate import upgrade
from app.models.session import Database
from tests.servers import (
    Databases,
    ServerUnavailable,
    postgres,
    rabbitmq,
    redis_server,
)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the folder they stand in and the servers they ask for."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder == "unit":
            # A unit test that needs a socket stands in the wrong folder.
            item.add_marker(pytest.mark.disable_socket)
        if folder in ("chaos", "conformance"):
            item.add_marker(folder)
        if "rabbitmq_url" in getattr(item, "fixturenames", ()):
            item.add_marker("rabbitmq")
    # The longest first, or one process would work on them alone while the others have ended.
    items.sort(key=_timeout, reverse=True)


def _timeout(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0.0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Databases]:
    """A PostgreSQL server that all tests share: do not stop it.

    A test that stops or kills one starts its own with `tests.servers.postgres`.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield Databases(given)
        return
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> Iterator[str]:
    """A server of the Redis protocol that all tests share: do not stop it.

    A test that stops or kills one starts its own with `tests.servers.redis_server`.
    """
    if given := os.environ.get("TEST_REDIS_URL"):
        # Parallel runs share the server, so each takes a database of its own.
        url = make_url(given)
        number = int(url.database or 0) + _position(worker_id)
        yield url.set(database=str(number)).render_as_string(hide_password=False)
        return
    with redis_server() as server:
        yield server.url


@pytest.fixture
def clean_redis_url(redis_url: str) -> str:
    """The shared server, with nothing in its database."""
    with closing(redis.Redis.from_url(redis_url)) as client:
        # A worker that the test before has killed may still seem to wait for a message here, and
        # the server would give it one of ours.
        database = str(client.connection_pool.connection_kwargs.get("db") or 0)
        for other in client.client_list():
            if "b" in other["flags"] and other["db"] == database:
                client.client_kill_filter(_id=other["id"])
        client.flushdb()
    return redis_url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """A RabbitMQ that all tests share; skips where none is installed."""
    if given := os.environ.get("TEST_RABBITMQ_URL"):
        yield given
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(rabbitmq())
        except ServerUnavailable as err:
            pytest.skip(str(err))
        yield server.url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Databases) -> Iterator[str]:
    """The name of a migrated database, to be copied: much faster than migrating."""
    name = f"test_template_{secrets.token_hex(6)}"
    _migrate(postgres_server.new_database(name))
    yield name
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied: much faster than migrating."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgres_server: Databases, migrated_postgres: str) -> Iterator[str]:
    """A migrated PostgreSQL database of the test's own."""
    url = postgres_server.new_database(template=migrated_postgres)
    yield url
    postgres_server.drop_database(_name(url))


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of the test's own."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'celeriac.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of the test's own: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table: the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Databases = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(_name(url))


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    # Closes the connections, so that the database can be copied.
    database.engine.dispose()


def _name(url: str) -> str:
    return make_url(url).database or ""


def _position(worker_id: str) -> int:
    """Count pytest-xdist's workers: gw0 is 0, and so is a run without them."""
    return int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
