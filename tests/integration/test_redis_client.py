"""The client that keeps its connections: on a real server, which now and then cuts them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from app import redis_client


@pytest.fixture
def client(clean_redis_url: str) -> Iterator[redis.Redis]:
    client = redis_client.client(clean_redis_url, decode_responses=True, client_name="ours")
    yield client
    client.close()


@pytest.fixture
def other(clean_redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_redis_url, decode_responses=True) as other:
        yield other


def connections(other: redis.Redis) -> list[str]:
    """The ids of the connections of the client under test."""
    return [each["id"] for each in other.client_list() if each["name"] == "ours"]


def test_commands_one_after_the_other_share_a_connection(
    client: redis.Redis, other: redis.Redis
) -> None:
    script = client.register_script("return redis.call('GET', KEYS[1]) .. ARGV[1]")
    client.set("a", "1")
    assert script(keys=["a"], args=["2"]) == "12"
    assert client.hgetall("none") == {}
    with pytest.raises(redis.ResponseError, match="wrong kind of value"):
        client.lpush("a", 1)
    assert client.get("a") == "1"
    assert len(connections(other)) == 1


def test_a_connection_that_was_cut_is_made_anew(client: redis.Redis, other: redis.Redis) -> None:
    client.set("a", "1")
    [connection] = connections(other)
    other.client_kill_filter(_id=connection)
    assert client.get("a") == "1"


def test_who_is_interrupted_leaves_no_answer_to_others(client: redis.Redis) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            client.blpop(["nothing"], timeout=5)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert client.echo("mine") == "mine"


def test_threads_get_their_own_answers(client: redis.Redis, other: redis.Redis) -> None:
    def ask(n: int) -> bool:
        return all(client.echo(f"{n}:{m}") == f"{n}:{m}" for m in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(16)))
    assert len(connections(other)) <= 8


def test_a_child_has_its_own_connections(client: redis.Redis, other: redis.Redis) -> None:
    client.set("a", "parent")
    before = connections(other)
    pid = os.fork()
    if pid == 0:
        os._exit(
            0 if client.get("a") == "parent" and client.client_id() not in map(int, before) else 1
        )
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.get("a") == "parent"
    assert connections(other) == before


def test_who_closed_it_may_go_on(client: redis.Redis) -> None:
    client.set("a", "1")
    client.close()
    assert client.get("a") == "1"
