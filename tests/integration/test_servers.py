"""The servers that the other tests stand on do what those tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import amqp
import psycopg
import pytest
import redis
from sqlalchemy import create_engine, inspect, make_url, text

from tests.servers import (
    Databases,
    Postgres,
    Redis,
    ServerFailed,
    postgres,
    redis_server,
)
from tests.servers.process import OWNER, PREFIX, Process, scratch, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_postgres_is_a_recent_server_at_read_committed(own_postgres: Postgres) -> None:
    with own_postgres.connect() as connection:
        assert connection.info.server_version >= 150000
        level = connection.execute("SHOW transaction_isolation").fetchone()
    assert level == ("read committed",)


def test_postgres_does_not_let_in_whoever_lacks_the_password(own_postgres: Postgres) -> None:
    url = make_url(own_postgres.url).set(drivername="postgresql", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.render_as_string(hide_password=False))


def test_a_new_database_can_be_a_copy_of_another(own_postgres: Postgres) -> None:
    with own_postgres.connect(make_url(own_postgres.new_database("seed")).database) as seed:
        seed.execute("CREATE TABLE t AS SELECT 7 AS n")
    copy = own_postgres.new_database(template="seed")
    with own_postgres.connect(make_url(copy).database) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_postgres_keeps_its_port_and_data_over(own_postgres: Postgres, ending: str) -> None:
    name = f"over_{ending}"
    url = own_postgres.new_database(name)
    with own_postgres.connect(name) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        # What follows must not wait for this open connection.
        getattr(own_postgres, ending)()
        assert not listens(make_url(url).port or 0)
        own_postgres.start()
    with own_postgres.connect(name) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]


def test_postgres_syncs_to_disk_when_asked_to() -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes", "max_connections")
    with (
        postgres(fsync=True, settings={"max_connections": 20}) as server,
        server.connect() as connection,
    ):
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in names}
    assert shown == {
        "fsync": ("on",),
        "synchronous_commit": ("on",),
        "full_page_writes": ("on",),
        "max_connections": ("20",),
    }


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_redis_keeps_its_port_and_data_over(own_redis: Redis, ending: str) -> None:
    with own_redis.client() as client:
        client.set("k", ending)
    getattr(own_redis, ending)()
    assert not listens(own_redis.port)
    own_redis.start()
    with own_redis.client() as client:
        assert client.get("k") == ending.encode()


def test_redis_can_lose_everything(own_redis: Redis) -> None:
    with own_redis.client() as client:
        client.set("k", "v")
        own_redis.flush()
        assert client.dbsize() == 0


def test_a_hanging_server_can_still_be_stopped(own_redis: Redis) -> None:
    own_redis.process.send(signal.SIGSTOP)
    client = redis.Redis.from_url(own_redis.url, socket_timeout=0.2)
    with closing(client), pytest.raises(redis.TimeoutError):
        client.ping()
    own_redis.stop()
    assert not listens(own_redis.port)
    own_redis.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_no_server_outlives_a_killed_parent() -> None:
    program = (
        "import time\n"
        "from tests.servers import postgres, redis_server\n"
        "with postgres() as p, redis_server() as r:\n"
        "    print(p.process.pid, r.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids),
        seconds=10,
        what=lambda: f"still there: {pids}",
    )


def test_what_a_killed_owner_left_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name, owner in (("left", gone.pid), ("used", os.getpid())):
        (tmp_path / f"{PREFIX}{name}").mkdir()
        (tmp_path / f"{PREFIX}{name}" / OWNER).write_text(str(owner))
    with scratch() as directory:
        assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}used", directory.name}


def test_a_server_that_ends_at_once_says_what_it_wrote(tmp_path: Path) -> None:
    process = Process(
        name="the teapot",
        command=[sys.executable, "-c", "import sys; sys.exit('short and stout')"],
        log=tmp_path / "log",
        ready=lambda: False,
    )
    with pytest.raises(ServerFailed, match=r"the teapot ended with status 1\nshort and stout"):
        process.start()


def test_a_test_gets_a_migrated_database_of_its_own(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
    engine.dispose()
    assert "alembic_version" in tables
    assert len(tables) > 1


def test_a_test_can_have_an_empty_database(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_databases_of_a_given_server_are_told_by_its_url(postgres_server: Databases) -> None:
    given = make_url(postgres_server.url).set(drivername="postgres")
    other = Databases(given.render_as_string(hide_password=False))
    name = make_url(other.new_database()).database
    assert name is not None
    with other.connect(name) as connection:
        assert connection.info.dbname == name
    other.drop_database(name)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        other.connect(name)


def test_the_shared_redis_starts_empty_where_asked(clean_redis_url: str) -> None:
    with closing(redis.Redis.from_url(clean_redis_url)) as client:
        assert client.dbsize() == 0


def test_rabbitmq_confirms_what_it_has_stored(rabbitmq_url: str) -> None:
    address = make_url(rabbitmq_url)
    with amqp.Connection(f"{address.host}:{address.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, auto_delete=False)
        channel.basic_publish_confirm(amqp.Message("hello"), routing_key="q")
        message = channel.basic_get("q", no_ack=True)
        channel.queue_delete("q")
    assert message is not None
    assert message.body == "hello"
